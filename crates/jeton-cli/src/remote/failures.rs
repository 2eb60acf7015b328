//! The errors of the client library in words of the command line.

use std::time::Duration;

use jeton_client::{Code, ErrorKind, JetonError};

use crate::{
    remote::tls_words::{Explained, explain},
    term::{
        escape::escape,
        exit::{Failure, Refusal},
    },
};

/// The failure of a client that could not be made: an address or a file is wrong.
pub fn of_client(error: &JetonError) -> Failure {
    let message = escape(error.message());
    Failure::Usage(match (error.kind(), error.cause()) {
        (ErrorKind::CredentialInvalid { file: Some(file) }, Some(cause)) => {
            format!("cannot read {}: {cause}.", file.display())
        }
        (ErrorKind::CredentialInvalid { .. }, _) => format!("the files of TLS cannot be used: {message}"),
        _ => message,
    })
}

/// The failure of a connection to the server at `url` that could not be made.
pub fn of_connection(error: &JetonError, url: &str) -> Failure {
    let Explained { cause, advice } = explain(&cause_of(error), url);
    Failure::Unreachable(format!("cannot reach {url}: {cause}. {advice}"))
}

/// The failure of a call to the server at `url` that had so much time.
pub fn of_call(error: &JetonError, url: &str, time: Duration) -> Failure {
    let refusal = Refusal::from(error);
    // Either side may end a call whose time is over, each with a text that helps nobody.
    if refusal.is_bare() && matches!(refusal.code, Code::Cancelled | Code::DeadlineExceeded) {
        return Failure::Refused(late(time));
    }
    if error.is_answer() {
        return Failure::Refused(refusal);
    }
    if let Some(status) = error.http_status() {
        let text =
            format!("what answers at {url} says {status} of HTTP, and speaks no gRPC. Is the address right?");
        return Failure::Refused(Refusal::new(code_of_http(status), text));
    }
    let Explained { cause, advice } = explain(&cause_of(error), url);
    Failure::Unreachable(format!("the connection failed: {cause}. {advice}"))
}

/// No answer came in time.
pub fn late(time: Duration) -> Refusal {
    let waited = time.as_secs_f64();
    let text = format!("No answer within {waited} s. Try again, or give more with --timeout.");
    Refusal::new(Code::DeadlineExceeded, text)
}

/// The end of the chain of errors, fit for a terminal.
fn cause_of(error: &JetonError) -> String {
    escape(error.cause().unwrap_or_else(|| error.message()))
}

/// The code of gRPC for a status of HTTP, as gRPC maps them.
fn code_of_http(status: u16) -> Code {
    match status {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use jeton_client::{Client, testing::Double};
    use jeton_proto::v1::GetCallerRequest;

    use super::*;
    use crate::term::exit::Exit;

    const TIME: Duration = Duration::from_millis(1500);

    #[tokio::test]
    async fn a_refusal_keeps_the_words_of_the_server_and_what_is_late_those_of_the_command_line() {
        let double = Double::new();
        let told = async |code, reason: &str| {
            double.refuse("GetCaller", code, reason, HashMap::new());
            let client = double.client().ok()?.in_one_round();
            let error = client.token_service().get_caller(GetCallerRequest {}).await.err()?;
            let failure = of_call(&error, "http://a:1", TIME);
            Some((failure.exit(), failure.lines().concat()))
        };
        let late = "error: No answer within 1.5 s. Try again, or give more with --timeout.".to_owned();
        assert_eq!(told(Code::DeadlineExceeded, "").await, Some((Exit::Unavailable, late.clone())));
        assert_eq!(told(Code::Cancelled, "").await, Some((Exit::Unavailable, late)));
        let (exit, said) =
            told(Code::PermissionDenied, "CALLER_FORBIDDEN").await.unwrap_or((Exit::Done, String::new()));
        assert_eq!(exit, Exit::Denied);
        assert!(said.ends_with("reason: CALLER_FORBIDDEN"), "{said}");
        let (exit, said) = told(Code::Unavailable, "").await.unwrap_or((Exit::Done, String::new()));
        assert_eq!(exit, Exit::Unavailable);
        assert!(!said.contains("No answer from"), "the library's words are for programs: {said}");
    }

    #[test]
    fn a_file_that_cannot_be_read_or_used_is_a_fault_of_the_command_line() {
        let said = |file: &str| {
            let error = Client::builder("https://a:1").ca_file(file).build().err();
            error.map(|error| of_client(&error)).map(|failure| (failure.exit(), failure.lines().concat()))
        };
        let absent = "error: cannot read absent.pem: No such file or directory (os error 2).".to_owned();
        assert_eq!(said("absent.pem"), Some((Exit::Usage, absent)));
        let unusable =
            "error: the files of TLS cannot be used: The file Cargo.toml holds no certificate in PEM.";
        assert_eq!(said("Cargo.toml"), Some((Exit::Usage, unusable.to_owned())));
    }
}
