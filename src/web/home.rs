//! The page at `/`: what is here, and how the server does.

use std::fmt::Write as _;

use axum::extract::State;
use axum::response::Html;

use super::shared::Shared;
use crate::trouble;

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>trackport</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; }
dt { font-weight: 600; margin-top: .75rem; }
dd { margin: 0; }
.wrong { border-left: .25rem solid #c33; padding-left: .75rem; }
</style>
</head>
<body>
";

const FOOT: &str = "<dl>
<dt><a href=\"/metrics\">/metrics</a></dt><dd>Numbers for Prometheus.</dd>
<dt><a href=\"/readyz\">/readyz</a></dt><dd>Whether packets are acknowledged, and what is wrong: 200 or 503, JSON.</dd>
<dt><a href=\"/healthz\">/healthz</a></dt><dd>Whether the process lives: 200 or 503, JSON.</dd>
</dl>
<p>More on the machine itself: <code>trackport status</code>.</p>
</body>
</html>
";

pub(super) async fn page(State(shared): State<Shared>) -> Html<String> {
    let hub = &shared.hub;
    let ports = hub.ports();
    let sessions: usize = ports.iter().map(|port| port.n_sessions()).sum();
    let mut page = HEAD.to_owned();
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "<h1>trackport {}</h1>\n<p>{}, {}, {}.</p>\n",
        env!("CARGO_PKG_VERSION"),
        count(ports.len(), "port"),
        count(sessions, "session"),
        count(hub.fleet.len(), "device")
    );
    let troubles = trouble::troubles(hub);
    if troubles.is_empty() {
        page.push_str("<p>Nothing is wrong.</p>\n");
    } else {
        page.push_str("<div class=\"wrong\"><p>Wrong:</p>\n<ul>\n");
        for trouble in &troubles {
            let _ = writeln!(page, "<li>{}</li>", escaped(&trouble.to_string()));
        }
        page.push_str("</ul></div>\n");
    }
    page.push_str(FOOT);
    Html(page)
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Text that shows as it is, whoever wrote it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_database_says_is_no_markup() {
        assert_eq!(
            escaped("<script>\"a\" & b"),
            "&lt;script&gt;&quot;a&quot; &amp; b"
        );
    }
}
