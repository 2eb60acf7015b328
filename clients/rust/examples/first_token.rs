//! A first token: obtained, kept fresh, and judged. The server is that of `jeton dev`.

use jeton_client::{Client, TokenSource, ValidateRequest};

#[tokio::main]
#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "it is a program of a user")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:7070".to_owned());
    // Or api_key_file, which is read again when it changes.
    let client = Client::builder(endpoint).api_key(std::env::var("JETON_API_KEY")?).build()?;
    let source = TokenSource::builder(&client).subject("svc:billing").audiences(["orders"]).build()?;

    let token = source.get().await?; // at once, whenever a token is in hand
    let audiences = vec!["orders".to_owned()];
    let request = ValidateRequest { token: token.secret().clone(), audiences, ..Default::default() };
    let verdict = client.validate(request).await?;
    println!("{} {}", verdict.is_active(), verdict.subject); // true svc:billing
    Ok(())
}
