//! Reflection, on the admin listener. tonic sends its refusals behind a stream's answers, with texts of its own: here
//! they are replaced by those of the catalogue.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Response};
use hyper::body::{Body as HttpBody, Bytes, Frame};
use tonic::{Code, Status, body::Body, service::Routes};

use crate::{
    authority::{Error, Invalid},
    proto::FILE_DESCRIPTOR_SET,
};

/// Adds both versions: newer clients speak v1, older ones v1alpha.
pub(super) fn with_reflection(routes: Routes) -> Routes {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (builder().build_v1(), builder().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes.add_service(v1).add_service(v1alpha),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(error = %error, "no reflection: the descriptors that were built in cannot be read");
            routes
        }
    }
}

/// The response, with the catalogue's texts in its trailers.
pub(super) fn refusing(response: Response<Body>) -> Response<Body> {
    response.map(|inner| Body::new(Refusing { inner: Box::pin(inner) }))
}

struct Refusing {
    inner: Pin<Box<Body>>,
}

impl HttpBody for Refusing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(self.inner.as_mut().poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            let refused = frame.as_ref().ok().and_then(Frame::trailers_ref).and_then(refusal);
            refused.map_or(frame, |status| {
                let mut trailers = HeaderMap::new();
                status.add_header(&mut trailers)?;
                Ok(Frame::trailers(trailers))
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

/// The catalogue's status for these trailers, if they refuse.
fn refusal(trailers: &HeaderMap) -> Option<Status> {
    let status = Status::from_header_map(trailers)?;
    if status.code() == Code::NotFound {
        let name = status.message().to_owned();
        return Some(Error::NotFound { resource_type: "symbol or file", name }.into());
    }
    let no_kind = || Invalid::field("message_request", "one kind of request").into();
    (status.code() == Code::InvalidArgument).then(no_kind)
}
