//! What only its owner knows: passwords of people, and the random numbers that cookies and tokens are.
//!
//! Neither is kept as it is: of a password an argon2id hash, slow on purpose; of a token, which nobody can guess, its SHA-256.
//! Knows no table. Hashing takes some ten milliseconds and 19 MiB, so nothing that must not wait does it.

use std::fmt::Write as _;
use std::sync::LazyLock;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use sha2::{Digest, Sha256};

/// Signs that a password has at least.
pub const PASSWORD_SIGNS_MIN: usize = 10;

/// Bytes that a password has at most; argon2 would take more, but nobody types them.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Bytes of the random number that a token is.
const TOKEN_BYTES: usize = 32;

/// What tokens of the API begin with, so that people and scanners of repositories know one when they see it.
const TOKEN_MARK: &str = "tp_";

/// A SHA-256.
pub type TokenDigest = [u8; 32];

/// Why a password cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short to resist.
    #[error(
        "the password has {0} signs, and {PASSWORD_SIGNS_MIN} is the least; a few words in a row are long and easy to remember"
    )]
    Short(usize),
    /// Longer than anybody types.
    #[error("the password has more than {PASSWORD_BYTES_MAX} bytes; choose a shorter one")]
    Long,
    /// The same sign over and over.
    #[error("the password is one sign repeated; choose another")]
    Monotone,
    /// The name of its owner.
    #[error("the password is the user's name; choose another")]
    Name,
}

/// A secret that was made just now: shown to its owner once, never kept.
pub struct Token {
    /// What its owner shows from now on.
    pub text: String,
    /// What is kept.
    pub digest: TokenDigest,
}

/// Whether `password` may be the password of the user `name`.
///
/// # Errors
/// Why not.
pub fn check_password(password: &str, name: &str) -> Result<(), PasswordError> {
    let mut signs = password.chars();
    let n_signs = signs.clone().count();
    if n_signs < PASSWORD_SIGNS_MIN {
        return Err(PasswordError::Short(n_signs));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError::Long);
    }
    let first = signs.next();
    if signs.all(|sign| Some(sign) == first) {
        return Err(PasswordError::Monotone);
    }
    if password.to_lowercase() == name.to_lowercase() {
        return Err(PasswordError::Name);
    }
    Ok(())
}

/// The argon2id hash of `password` as a PHC string, with a salt of its own and the parameters that the library recommends.
///
/// Takes some ten milliseconds.
pub fn hash_password(password: &str) -> String {
    let salt: [u8; 16] = rand::random();
    let hash: PasswordHash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .expect("a salt of 16 bytes and the default parameters are in bounds");
    hash.to_string()
}

/// Whether `password` is the one of `hash`; without a hash it is not, which takes as long to find out.
pub fn is_password(password: &str, hash: Option<&str>) -> bool {
    // So that nobody hears by the time that an answer takes which names there are.
    static NOBODY: LazyLock<String> = LazyLock::new(|| hash_password(&new_token().text));
    let parsed = hash.and_then(|hash| PasswordHash::new(hash).ok());
    let is_somebody = parsed.is_some();
    let parsed = match parsed {
        Some(parsed) => parsed,
        None => PasswordHash::new(&NOBODY).expect("it was made here"),
    };
    let fits = password.len() <= PASSWORD_BYTES_MAX
        && Argon2::default()
            .verify_password(password.as_bytes(), &parsed)
            .is_ok();
    fits && is_somebody
}

/// A new secret of 256 random bits, as hexadecimal digits.
pub fn new_token() -> Token {
    let bytes: [u8; TOKEN_BYTES] = rand::random();
    let mut text = String::with_capacity(2 * TOKEN_BYTES);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    let digest = digest(&text);
    Token { text, digest }
}

/// The same as a token of the API.
pub fn new_api_token() -> Token {
    let text = format!("{TOKEN_MARK}{}", new_token().text);
    let digest = digest(&text);
    Token { text, digest }
}

/// What is kept of a token.
pub fn digest(token: &str) -> TokenDigest {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_again_and_no_other_is() {
        let hash = hash_password("correct horse battery");
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(is_password("correct horse battery", Some(&hash)));
        assert!(!is_password("correct horse batterz", Some(&hash)));
        assert!(!is_password("correct horse battery", None));
        assert!(!is_password("correct horse battery", Some("no hash")));
        assert_ne!(hash, hash_password("correct horse battery"), "salted");
    }

    #[test]
    fn weak_passwords_are_told_why() {
        for (password, error) in [
            ("", PasswordError::Short(0)),
            ("nine sign", PasswordError::Short(9)),
            ("äöüäöüäöü", PasswordError::Short(9)),
            ("aaaaaaaaaaaa", PasswordError::Monotone),
            ("ANNA.BERGER@example", PasswordError::Name),
            (&"ab".repeat(600), PasswordError::Long),
        ] {
            let told = check_password(password, "anna.berger@EXAMPLE");
            assert_eq!(told, Err(error), "{password}");
        }
        assert_eq!(check_password("ten signs!", "anna"), Ok(()));
    }

    #[test]
    fn no_two_tokens_are_the_same_and_their_digest_is_found_again() {
        let (one, other) = (new_api_token(), new_api_token());
        assert_ne!(one.text, other.text);
        assert_eq!(one.text.len(), 3 + 64);
        assert_eq!(digest(&one.text), one.digest);
        assert_ne!(new_token().digest, new_token().digest);
    }
}
