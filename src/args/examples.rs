//! An example or more of each verb, shown before its flags. A test parses them all.

/// The path of a verb, and lines to paste.
pub(super) const EXAMPLES: &[(&str, &[&str])] = &[
    ("dev", &["jeton dev", "jeton dev --replicas 3"]),
    (
        "serve",
        &[
            "jeton serve --config /etc/jeton/jeton.toml",
            "jeton serve --config jeton.toml --listen 0.0.0.0:7070",
        ],
    ),
    ("migrate up", &["jeton migrate up --database-url postgres:///jeton"]),
    ("migrate status", &["jeton migrate status --database-url postgres:///jeton"]),
    (
        "key import",
        &[
            "jeton key import --file key.pem --state active --database-url postgres:///jeton --master-key-file master.key",
        ],
    ),
    (
        "key reseal",
        &[
            "jeton key reseal --database-url postgres:///jeton --master-key-file old.key --new-master-key-file new.key",
        ],
    ),
    ("key list", &["jeton key list"]),
    (
        "key rotate",
        &["jeton key rotate", "jeton key rotate --emergency", "jeton key rotate --algorithm EdDSA --lead 2h"],
    ),
    ("key export-jwks", &["jeton key export-jwks --file jwks.json"]),
    (
        "epoch bump",
        &["jeton epoch bump --revoke-keys --database-url postgres:///jeton --master-key-file master.key"],
    ),
    (
        "client bootstrap",
        &[
            "jeton client bootstrap --client-id admin --database-url postgres:///jeton --master-key-file master.key > admin.key",
        ],
    ),
    ("client list", &["jeton client list", "jeton client list --output json"]),
    ("client get", &["jeton client get checkout"]),
    (
        "client create",
        &[
            "jeton client create checkout --permission issue --permission validate --audience orders --subject 'user:*'",
        ],
    ),
    (
        "client update",
        &[
            "jeton client update checkout --disable --revoke",
            "jeton client update checkout --audience orders",
        ],
    ),
    ("issuer list", &["jeton issuer list"]),
    ("issuer get", &["jeton issuer get github"]),
    (
        "issuer create",
        &[
            "jeton issuer create github --issuer https://token.actions.githubusercontent.com --oidc-discovery --audience jeton --rule '{\"client\":\"ci\",\"subject\":\"ci:{repository_id}\",\"when\":{\"repository_id\":\"7\"}}'",
        ],
    ),
    ("issuer update", &["jeton issuer update github --disable"]),
    ("issuer delete", &["jeton issuer delete github"]),
    ("issuer test", &["jeton issuer test < assertion.txt"]),
    ("client delete", &["jeton client delete checkout"]),
    ("client add-key", &["jeton client add-key checkout --ttl 90d --key-file checkout.key"]),
    (
        "client rotate-key",
        &[
            "jeton client rotate-key checkout --key-file new.key",
            "jeton client rotate-key checkout --overlap 0s --key-file new.key",
        ],
    ),
    ("client delete-key", &["jeton client delete-key checkout 2Q6Fv3nq9Yc8sT1bXkLmNp"]),
    (
        "audit verify",
        &[
            "jeton audit verify --heads server.log --database-url postgres:///jeton --master-key-file master.key",
        ],
    ),
    ("audit tail", &["jeton audit tail --action Revoke", "jeton audit tail --json-lines >>audit.jsonl"]),
    (
        "audit list",
        &["jeton audit list --subject user:7 --since 2h", "jeton audit list --actor admin --output json"],
    ),
    (
        "issue",
        &[
            "jeton issue --subject user:7 --audience orders",
            "jeton issue --subject user:7 --audience orders --ttl 15m --scope read --claim team=blue",
            "jeton issue --subject user:7 --audience orders --refreshable --refresh-token-file refresh.token",
            "jeton issue --subject user:7 --audience orders | jeton validate",
        ],
    ),
    ("refresh", &["jeton refresh --token-file refresh.token --output json > tokens.json"]),
    (
        "validate",
        &["jeton validate < token", "jeton validate --token-file token --audience orders --scope read"],
    ),
    ("inspect", &["jeton inspect < token", "jeton inspect --token-file token --jwks jwks.json"]),
    (
        "revoke",
        &[
            "jeton revoke --reason leaked --note INC-1",
            "jeton revoke --from app.log app.log.1.gz --dry-run",
            "jeton revoke --token-file token --reason leaked --note INC-1",
            "jeton revoke --session 0192f0c8-0000-7000-8000-000000000001",
            "jeton revoke --subject user:7 --reason compromised --dry-run",
            "jeton revoke --subject user:7 --reason compromised --lock 4h",
            "jeton revoke --client checkout --reason compromised --before '2h ago' --yes --retry 30m",
        ],
    ),
    (
        "lock subject",
        &["jeton lock subject user:7", "jeton lock subject svc:billing --ttl 1h --note INC-4711"],
    ),
    ("lock client", &["jeton lock client checkout --note INC-4711"]),
    ("lock list", &["jeton lock list"]),
    ("unlock subject", &["jeton unlock subject user:7 --note 'password changed'"]),
    ("unlock client", &["jeton unlock client checkout"]),
    (
        "explain",
        &[
            "jeton explain 0192f0c8-0000-7000-8000-000000000001",
            "jeton explain < token",
            "jeton explain --subject user:7",
        ],
    ),
    ("session show", &["jeton session show 0192f0c8-0000-7000-8000-000000000001"]),
    ("session revoke", &["jeton session revoke 0192f0c8-0000-7000-8000-000000000001 --reason logout"]),
    (
        "session list",
        &["jeton session list --subject user:7", "jeton session list --client checkout --show-ended"],
    ),
    ("policy list", &["jeton policy list"]),
    ("policy get", &["jeton policy get orders", "jeton policy get orders --client checkout"]),
    (
        "policy set",
        &[
            "jeton policy set orders --max-ttl 2h --default-ttl 15m",
            "jeton policy set orders --daily-boundary '00:00 Europe/Berlin'",
        ],
    ),
    ("policy explain", &["jeton policy explain orders", "jeton policy explain orders checkout"]),
    ("policy diff", &["jeton policy diff -f policies.toml"]),
    ("policy apply", &["jeton policy apply -f policies.toml", "jeton policy apply -f policies.toml --prune"]),
    ("policy delete", &["jeton policy delete orders"]),
    ("revocation list", &["jeton revocation list --wide", "jeton revocation list --output json"]),
    ("replica list", &["jeton replica list"]),
    ("doctor", &["jeton doctor", "jeton doctor --ops-endpoint http://127.0.0.1:7072"]),
    ("whoami", &["jeton whoami", "jeton whoami --context prod"]),
    (
        "context add",
        &[
            "jeton context add prod --endpoint https://jeton.example:7070 --admin-endpoint https://jeton.example:7071 --api-key-file prod.key",
            "jeton context add prod --endpoint https://a.example:7070,https://b.example:7070 -- vault read -field=key kv/jeton",
        ],
    ),
    ("context use", &["jeton context use prod"]),
    ("context list", &["jeton context list"]),
    ("context remove", &["jeton context remove prod"]),
    (
        "completion",
        &[
            "jeton completion bash > ~/.local/share/bash-completion/completions/jeton",
            "jeton completion zsh > ~/.zfunc/_jeton",
            "jeton completion fish > ~/.config/fish/completions/jeton.fish",
        ],
    ),
    ("man", &["jeton man | man -l -", "jeton man --dir ~/.local/share/man/man1"]),
    ("version", &["jeton version"]),
];

/// The examples of a verb.
pub(super) fn of(path: &str) -> Option<&'static [&'static str]> {
    EXAMPLES.iter().find(|(name, _)| *name == path).map(|(_, lines)| *lines)
}
