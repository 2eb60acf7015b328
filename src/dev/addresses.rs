//! The addresses of a development server: on loopback only, on ports that are known before it starts.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, bail};
use tokio::net::TcpSocket;

/// The addresses of the three listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// For every service.
    pub public: SocketAddr,
    /// For people.
    pub admin: SocketAddr,
    /// For probes.
    pub ops: SocketAddr,
}

impl Listen {
    /// A development server speaks plaintext and keeps its API keys in a file: nobody else may reach it.
    pub fn check_loopback(&self) -> anyhow::Result<()> {
        for (flag, address) in
            [("--listen", self.public), ("--admin-listen", self.admin), ("--ops-listen", self.ops)]
        {
            if !is_loopback(address.ip()) {
                bail!(
                    "{flag} {address} can be reached from elsewhere: `jeton dev` listens on loopback alone"
                );
            }
        }
        Ok(())
    }

    /// These addresses with ports in place of zeros: the issuer contains one, so it must be known before the server is.
    /// While the ports are held, the system gives them to nobody else, but a process that asks for one by number, as
    /// the server does, gets it.
    pub(super) fn choose_ports(&self) -> anyhow::Result<(Self, Held)> {
        let (public, held) = choose(self.public)?;
        let (admin, held_too) = choose(self.admin)?;
        let (ops, held_as_well) = choose(self.ops)?;
        Ok((Self { public, admin, ops }, Held([held, held_too, held_as_well])))
    }

    /// The addresses of a further server: on the same hosts, on ports that the system chooses when it starts. Nobody
    /// needs to know them before.
    pub(super) fn beside(&self) -> Self {
        let any_port = |address: SocketAddr| SocketAddr::new(address.ip(), 0);
        Self { public: any_port(self.public), admin: any_port(self.admin), ops: any_port(self.ops) }
    }

    /// The issuer of the tokens: the same between runs as long as the port is.
    pub(super) fn issuer(&self) -> String {
        format!("http://{}", self.public)
    }
}

/// Sockets on the chosen ports. None listens: a client that connects early is refused at once and not left waiting.
pub(super) struct Held(#[expect(dead_code, reason = "they are held, and that is all")] [TcpSocket; 3]);

fn choose(address: SocketAddr) -> anyhow::Result<(SocketAddr, TcpSocket)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of the last run do not matter, and the server may bind beside this socket.
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("cannot listen on {address}: choose another address"))?;
    Ok((socket.local_addr()?, socket))
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(public: &str) -> anyhow::Result<Listen> {
        Ok(Listen { public: public.parse()?, admin: "127.0.0.1:0".parse()?, ops: "[::1]:0".parse()? })
    }

    #[test]
    fn only_loopback_is_listened_on() -> anyhow::Result<()> {
        for fine in ["127.0.0.1:0", "127.8.9.10:1", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            assert!(listen(fine)?.check_loopback().is_ok(), "{fine}");
        }
        for refused in ["0.0.0.0:0", "[::]:0", "192.168.0.1:1", "[::ffff:10.0.0.1]:1", "[fe80::1]:1"] {
            assert!(listen(refused)?.check_loopback().is_err(), "{refused}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_port_of_zero_is_chosen_before_the_server_starts() -> anyhow::Result<()> {
        let wanted: SocketAddr = "127.0.0.1:0".parse()?;
        let (chosen, _held) = Listen { public: wanted, admin: wanted, ops: wanted }.choose_ports()?;
        assert_ne!(chosen.public.port(), 0);
        assert_ne!(chosen.public, chosen.admin);
        assert_eq!(chosen.issuer(), format!("http://127.0.0.1:{}", chosen.public.port()));
        assert_eq!(chosen.beside(), Listen { public: wanted, admin: wanted, ops: wanted });
        Ok(())
    }

    #[tokio::test]
    async fn a_chosen_port_is_kept_for_whoever_asks_for_it_by_number() -> anyhow::Result<()> {
        let wanted: SocketAddr = "127.0.0.1:0".parse()?;
        let (chosen, _held) = Listen { public: wanted, admin: wanted, ops: wanted }.choose_ports()?;
        // As many as the system gives out to a busy machine meanwhile.
        for _ in 0..2_000 {
            let other = tokio::net::TcpListener::bind(wanted).await?.local_addr()?;
            assert!(![chosen.public, chosen.admin, chosen.ops].contains(&other));
        }
        let server = tokio::net::TcpListener::bind(chosen.public).await?;
        let (called, taken) = tokio::join!(tokio::net::TcpStream::connect(chosen.public), server.accept());
        assert!(called.is_ok() && taken.is_ok());
        Ok(())
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() -> anyhow::Result<()> {
        let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = taken.local_addr()?;
        let refusal = choose(address).map(|_| ()).map_err(|e| e.to_string());
        assert!(refusal.as_ref().is_err_and(|text| text.contains(&address.to_string())), "{refusal:?}");
        Ok(())
    }
}
