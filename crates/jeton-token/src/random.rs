//! Random bytes for keys and secrets. Ids come in as arguments.

use aws_lc_rs::rand;
use zeroize::Zeroizing;

/// `N` bytes of the operating system's randomness, wiped when dropped.
///
/// # Panics
///
/// If the system has no randomness: no secret can be made then, and a guessable one must not be.
#[must_use]
pub fn bytes<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    #[expect(clippy::expect_used, reason = "without randomness there is nothing safe to go on with")]
    rand::fill(out.as_mut_slice()).expect("the system gives random bytes");
    out
}
