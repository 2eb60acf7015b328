//! The listeners that use TLS, and their files.

use std::path::PathBuf;

use anyhow::{bail, ensure};

use crate::{args::places::Places, tls::TlsFiles};

/// The TLS settings of one listener.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
}

impl Said {
    /// The flag of the first of its files that was given.
    fn first<'a>(&self, [certificate, key, client_ca]: [&'a str; 3]) -> Option<&'a str> {
        let given = [(&self.certificate, certificate), (&self.key, key), (&self.client_ca, client_ca)];
        given.into_iter().find(|(file, _)| file.is_some()).map(|(_, flag)| flag)
    }
}

/// The files of the public and of the admin listener; `None` if both are in plaintext, which must be requested. Missing
/// settings of the admin listener are those of the public one.
pub(super) fn files(
    plaintext: bool,
    public: Said,
    admin: Said,
    places: &Places,
) -> anyhow::Result<Option<[TlsFiles; 2]>> {
    if plaintext {
        let given = public
            .first(["tls_cert", "tls_key", "client_ca"])
            .or_else(|| admin.first(["admin_tls_cert", "admin_tls_key", "admin_client_ca"]));
        if let Some(given) = given {
            let [plaintext, file] = ["plaintext", given].map(|id| places.name(id));
            bail!("{plaintext} and {file} exclude each other: give TLS files, or plaintext");
        }
        return Ok(None);
    }
    let (Some(certificate), Some(key)) = (public.certificate, public.key) else {
        bail!("--tls-cert and --tls-key are required, or --plaintext: behind a mesh, or on loopback");
    };
    ensure!(
        admin.certificate.is_some() == admin.key.is_some(),
        "--admin-tls-cert and --admin-tls-key go together"
    );
    let public = TlsFiles { certificate, key, client_ca: public.client_ca };
    let admin = TlsFiles {
        certificate: admin.certificate.unwrap_or_else(|| public.certificate.clone()),
        key: admin.key.unwrap_or_else(|| public.key.clone()),
        client_ca: admin.client_ca.or_else(|| public.client_ca.clone()),
    };
    Ok(Some([public, admin]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(plaintext: bool, public: Said, admin: Said) -> anyhow::Result<Option<[TlsFiles; 2]>> {
        super::files(plaintext, public, admin, &Places::default())
    }

    fn said(certificate: Option<&str>, key: Option<&str>, client_ca: Option<&str>) -> Said {
        let path = |text: Option<&str>| text.map(PathBuf::from);
        Said { certificate: path(certificate), key: path(key), client_ca: path(client_ca) }
    }

    #[test]
    fn plaintext_is_asked_for_or_there_is_a_certificate() {
        assert!(files(false, Said::default(), Said::default()).is_err());
        assert!(files(false, said(Some("c"), None, None), Said::default()).is_err());
        assert!(files(true, said(Some("c"), Some("k"), None), Said::default()).is_err());
        assert!(files(true, Said::default(), said(None, None, Some("ca"))).is_err());
        assert!(matches!(files(true, Said::default(), Said::default()), Ok(None)));
    }

    #[test]
    fn the_admin_listener_is_as_the_public_one_but_for_what_is_said_of_it() {
        let of = |admin| files(false, said(Some("c"), Some("k"), Some("ca")), admin).ok().flatten();
        assert!(of(Said::default()).is_some_and(|[public, admin]| public == admin));
        let apart = of(said(None, None, Some("people"))).map(|[_, admin]| admin);
        assert_eq!(apart.and_then(|admin| admin.client_ca), Some(PathBuf::from("people")));
        assert!(of(said(Some("c"), None, None)).is_none());
    }
}
