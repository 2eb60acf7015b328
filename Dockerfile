# syntax=docker/dockerfile:1
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
ENV SQLX_OFFLINE=true
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin jeton \
    && install -D target/release/jeton /out/jeton

FROM debian:bookworm-slim
# A number, so that Kubernetes can see that it is not root.
RUN groupadd --system --gid 10001 jeton \
    && useradd --system --uid 10001 --gid jeton --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin jeton
# For Postgres over TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/jeton /usr/local/bin/jeton
USER 10001:10001
EXPOSE 7070 7071 7072
ENTRYPOINT ["jeton"]
CMD ["serve"]
