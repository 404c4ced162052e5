mod gaps;
mod values;
mod way;
use axum::Router;
use super::shared::Shared;
pub(super) fn routes() -> Router<Shared> {
    Router::new()
}
