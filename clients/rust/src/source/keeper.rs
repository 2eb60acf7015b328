//! Keeps the refresh token of a session.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{JetonError, Secret, files};

type Callback = dyn Fn(&Secret) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + Send + Sync;

/// Where the refresh token goes.
#[derive(Clone, Default)]
pub(crate) enum Keeper {
    #[default]
    Nowhere,
    File(PathBuf),
    Callback(Arc<Callback>),
}

impl Keeper {
    /// The token that was kept, if there is one.
    pub(crate) fn kept(&self) -> Result<Option<Secret>, JetonError> {
        match self {
            Self::File(path) => read(path),
            Self::Nowhere | Self::Callback(_) => Ok(None),
        }
    }

    /// Keeps a token. A failure is no failure of the renewal: the token in memory is good.
    pub(crate) async fn keep(&self, token: &Secret) {
        if matches!(self, Self::Nowhere) {
            return;
        }
        let (keeper, token) = (self.clone(), token.clone());
        let kept = tokio::task::spawn_blocking(move || match keeper {
            Self::Nowhere => Ok(()),
            Self::File(path) => write(&path, &token).map_err(|error| error.to_string()),
            // The text of its error may hold the token.
            Self::Callback(callback) => callback(&token).map_err(|_| "the callback failed".to_owned()),
        })
        .await;
        if let Err(error) = kept.unwrap_or_else(|_| Err("the callback panicked".to_owned())) {
            tracing::warn!(error, "the refresh token could not be kept; the one in memory is good");
        }
    }

    /// Removes what was kept of a session that is over.
    pub(crate) fn forget(&self) {
        let Self::File(path) = self else { return };
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(error = %error, "the file of an ended session could not be removed");
            }
            _ => {}
        }
    }
}

fn read(path: &Path) -> Result<Option<Secret>, JetonError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(files::unreadable(path, &error)),
        #[cfg(unix)]
        Ok(metadata) if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 => {
            let message = format!(
                "The file {} can be read by others, so its refresh token is not used. Set its mode to 0600.",
                path.display()
            );
            return Err(JetonError::credential_invalid(Some(path), message));
        }
        Ok(_) => {}
    }
    let text = String::from_utf8(files::read_file(path)?).unwrap_or_default();
    Ok(Some(Secret::new(text.trim())).filter(|token| !token.is_empty()))
}

/// Replaces the file as a whole, so that a crash leaves the old token or the new one.
fn write(path: &Path, token: &Secret) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Its mode is 0600 from its first byte on.
    let mut file = tempfile::Builder::new().prefix(".jeton-").tempfile_in(directory)?;
    file.write_all(token.reveal().as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The new name is durable once the directory is. Not every system can sync one.
    if let Ok(directory) = fs::File::open(directory) {
        drop(directory.sync_all());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_token_is_kept_in_a_file_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("session");
        let keeper = Keeper::File(path.clone());
        assert!(keeper.kept().unwrap().is_none());
        for text in ["first", "second"] {
            keeper.keep(&text.into()).await;
            assert_eq!(keeper.kept().unwrap().unwrap().reveal(), text);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = keeper.kept().unwrap_err();
        assert!(refused.kind().name() == "CredentialInvalid" && !refused.message().contains("second"));
        keeper.forget();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_callback_that_panics_fails_no_renewal() {
        let keeper = Keeper::Callback(Arc::new(|_| panic!("not today")));
        keeper.keep(&"token".into()).await;
    }
}
