//! The fields of the API in words of the command line: a server that refuses a value names a field, and a person typed a
//! flag.

use crate::term::exit::{Failure, Refusal};

/// Fields, and what a person gives for them.
const WORDS: [(&str, &str); 82] = [
    ("action", "--action"),
    ("actor", "--actor"),
    ("algorithm", "--algorithm"),
    ("api_key_id", "API_KEY_ID"),
    ("assertion", "the assertion"),
    ("audience", "--audience"),
    ("audiences", "--audience"),
    ("bulk_id", "--resume"),
    ("claims", "--claim"),
    ("client.audiences", "--audience"),
    ("client.certificate_uris", "--certificate-uri"),
    ("client.client_id", "CLIENT_ID"),
    ("client.disabled", "--disable"),
    ("client.display_name", "--display-name"),
    ("client.etag", "--etag"),
    ("client.own_subject", "--own-subject"),
    ("client.permissions", "--permission"),
    ("client.subjects", "--subject"),
    ("client_id", "--client"),
    ("end_time", "--until"),
    ("etag", "--etag"),
    ("expire_time", "--expire-time"),
    ("id", "ID"),
    ("issuer", "the issuer"),
    ("issuer.algorithms", "--algorithm"),
    ("issuer.audiences", "--audience"),
    ("issuer.display_name", "--display-name"),
    ("issuer.etag", "--etag"),
    ("issuer.issuer", "--issuer"),
    ("issuer.issuer_id", "ISSUER"),
    ("issuer.jwks_uri", "--jwks-uri"),
    ("issuer.key_source", "the source of keys"),
    ("issuer.max_age", "--max-age"),
    ("issuer.oidc_discovery", "--oidc-discovery"),
    ("issuer.rules", "--rules"),
    ("issuer.spiffe_bundle_file", "--spiffe-bundle-file"),
    ("issuer.spiffe_bundle_uri", "--spiffe-bundle-uri"),
    ("issuer.static_jwks", "--static-jwks"),
    ("issuer_id", "ISSUER"),
    ("jti", "--jti"),
    ("key_id", "--key"),
    ("lock_ttl", "--lock"),
    ("max_affected_sessions", "--max-affected"),
    ("note", "--note"),
    ("policy.algorithm", "--algorithm"),
    ("policy.allowed_scopes", "--allow-scope"),
    ("policy.audience", "AUDIENCE"),
    ("policy.audit_issue", "--audit-issue"),
    ("policy.client_id", "--client"),
    ("policy.daily_boundary", "--daily-boundary"),
    ("policy.default_ttl", "--default-ttl"),
    ("policy.etag", "--etag"),
    ("policy.excess_ttl_action", "--excess"),
    ("policy.leeway", "--leeway"),
    ("policy.max_sessions_per_subject", "--sessions-per-subject"),
    ("policy.max_ttl", "--max-ttl"),
    ("policy.refresh_absolute_lifetime", "--absolute"),
    ("policy.refresh_idle_lifetime", "--idle"),
    ("policy.refresh_replay_grace", "--grace"),
    ("publication_lead", "--lead"),
    ("reason", "--reason"),
    ("refresh_token", "the refresh token"),
    ("scopes", "--scope"),
    ("session_id", "--session"),
    ("start_time", "--since"),
    ("subject", "--subject"),
    ("target.all_for_audience", "--audience"),
    ("target.audience", "--audience"),
    ("target.client_id", "--client"),
    ("target.id", "the id"),
    ("target.issue_cutoff_time", "--before"),
    ("target.issuer_id", "--issuer"),
    ("target.jti", "the jti"),
    ("target.key_id", "--key"),
    ("target.session_id", "--session"),
    ("target.subject", "--subject"),
    ("target.token", "the text that was given"),
    ("targets", "what was found"),
    ("token", "the token"),
    ("ttl", "--ttl"),
    ("wait_for", "--wait-for"),
    ("wait_timeout", "--wait"),
];

/// Where the values of a verb come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Its flags.
    Flags,
    /// Its flags; its operand is a client.
    Client,
    /// Its flags; its operand is the name of a subject or a client.
    Name,
    /// Its flags; its operand is an audience.
    Audience,
    /// Its operands, an audience and a client.
    AudienceAndClient,
    /// A file of policies.
    PolicyFile,
}

impl Given {
    /// What a person gives for a field; `None` if this program fills it.
    fn word(self, field: &str) -> Option<String> {
        let operand = match (self, field) {
            (Self::Client, "client_id") => Some("CLIENT_ID"),
            (Self::Name, "client_id" | "subject") => Some("NAME"),
            (Self::AudienceAndClient, "client_id" | "policy.client_id") => Some("CLIENT"),
            (Self::Audience | Self::AudienceAndClient, "audience") => Some("AUDIENCE"),
            (Self::PolicyFile, "policy.allowed_scopes") => Some("scopes"),
            _ => None,
        };
        let word =
            operand.or_else(|| WORDS.iter().find(|(name, _)| *name == field).map(|(_, word)| *word))?;
        if self == Self::PolicyFile {
            let key = word.trim_start_matches("--").replace('-', "_").to_lowercase();
            return Some(format!("{key} in the file"));
        }
        Some(word.to_owned())
    }

    /// The failure in words of the command line. A value that the server refuses for its form is a fault of the command
    /// line.
    pub fn told(self, failure: Failure) -> Failure {
        let Failure::Refused(refusal) = failure else { return failure };
        match self.text(&refusal) {
            Some(text) => Failure::BadValue { refusal, text },
            None => Failure::Refused(refusal),
        }
    }

    fn text(self, refusal: &Refusal) -> Option<String> {
        let (field, number) = without_index(refusal.metadata.get("field")?);
        let word = self.word(field)?;
        let word = number.map_or_else(|| word.clone(), |number| format!("{word} (number {number})"));
        match (refusal.reason.as_str(), refusal.metadata.get("rule")) {
            ("FIELD_REQUIRED", _) => Some(format!("{word} is missing. Give it.")),
            ("FIELD_INVALID", Some(rule)) => {
                let rule = rule.replace("max_ttl", &self.word("policy.max_ttl").unwrap_or_default());
                Some(format!("{word} is not valid. It must be: {rule}."))
            }
            _ => None,
        }
    }
}

/// `scopes[2]`: the field, and that it is the third.
fn without_index(field: &str) -> (&str, Option<usize>) {
    let Some((name, index)) = field.strip_suffix(']').and_then(|field| field.rsplit_once('[')) else {
        return (field, None);
    };
    (name, index.parse::<usize>().ok().map(|index| index.saturating_add(1)))
}

/// What the server said of one target among many, without the name of a field.
pub fn of_target(message: &str) -> &str {
    match message.strip_prefix("The field target").and_then(|rest| rest.split_once("It must be: ")) {
        Some((_, rule)) => rule,
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use jeton_client::Code;
    use prost::Message as _;
    use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};

    use super::*;

    fn refused(reason: &str, facts: &[(&str, &str)]) -> Failure {
        let metadata = facts.iter().map(|(name, fact)| ((*name).to_owned(), (*fact).to_owned())).collect();
        let bare = Refusal::new(Code::InvalidArgument, "The field x is invalid.");
        Refusal { reason: reason.to_owned(), metadata, ..bare }.into()
    }

    #[test]
    fn e25_a_refused_field_is_told_as_what_was_typed() {
        let told = |given: Given, field: &str| {
            let failure = given.told(refused("FIELD_INVALID", &[("field", field), ("rule", "good")]));
            (failure.exit().code(), failure.lines().concat())
        };
        let (code, text) = told(Given::Flags, "target.subject");
        assert_eq!(code, 2);
        assert_eq!(text, "error: --subject is not valid. It must be: good.reason: FIELD_INVALID");
        assert!(told(Given::Flags, "scopes[2]").1.contains("--scope (number 3) is"));
        assert!(told(Given::Client, "client_id").1.contains("CLIENT_ID is"));
        assert!(told(Given::Audience, "policy.client_id").1.contains("--client is"));
        assert!(told(Given::AudienceAndClient, "client_id").1.contains("CLIENT is"));
        assert!(told(Given::PolicyFile, "policy.refresh_idle_lifetime").1.contains("idle in the file is"));
        assert_eq!(told(Given::Flags, "page_size").0, 1, "this program fills it");
        let missing = Given::Flags.told(refused("FIELD_REQUIRED", &[("field", "target.token")]));
        assert!(missing.lines().concat().contains("the text that was given is missing"));
        assert!(missing.json().contains(r#""field":"target.token""#), "machines get the API's name, too");
    }

    #[test]
    fn e25_what_is_wrong_with_one_of_many_names_no_field() {
        assert_eq!(of_target("The field target.jti is invalid. It must be: new."), "new.");
        assert_eq!(of_target("The field targets is invalid. It must be: narrow."), "narrow.");
        assert_eq!(of_target("Something else."), "Something else.");
    }

    /// Fields that a person does not give: this program fills them, or sends none of these requests.
    const FILLED: [&str; 17] = [
        "certificate_thumbprint",
        "chunk_number",
        "client.api_keys",
        "client.create_time",
        "client.refused",
        "client.stray_certificate_uris",
        "issuer.create_time",
        "issuer.keys_fault",
        "issuer.refused",
        "min_revision",
        "page_size",
        "page_token",
        "policy.update_time",
        "requests",
        "request",
        "target_count",
        "update_mask",
    ];

    /// The paths of the fields of a request that may be refused for their form. A boolean cannot be.
    fn paths(all: &[DescriptorProto], message: &DescriptorProto, prefix: &str) -> Vec<String> {
        let mut paths = Vec::new();
        for field in &message.field {
            let path = format!("{prefix}{}", field.name());
            let inner = all.iter().find(|it| format!(".jeton.v1.{}", it.name()) == field.type_name());
            match (field.r#type(), inner) {
                (Type::Bool, _) => {}
                _ if FILLED.contains(&path.as_str()) => {}
                // What is wrong with one of many names no field.
                (_, Some(inner))
                    if path != "targets" && !["DailyBoundary", "MappingRule"].contains(&inner.name()) =>
                {
                    paths.extend(self::paths(all, inner, &format!("{path}.")));
                }
                _ => paths.push(path),
            }
        }
        paths
    }

    #[test]
    fn e25_each_field_that_can_be_refused_has_a_word() {
        let set = FileDescriptorSet::decode(jeton_proto::FILE_DESCRIPTOR_SET).unwrap_or_default();
        let files: Vec<_> = set.file.iter().filter(|file| file.package() == "jeton.v1").collect();
        let all: Vec<_> = files.iter().flat_map(|file| file.message_type.clone()).collect();
        let services = files.iter().flat_map(|file| &file.service);
        let services = services.filter(|service| ["TokenService", "AdminService"].contains(&service.name()));
        let inputs =
            services.flat_map(|service| &service.method).map(|method| method.input_type().to_owned());
        let inputs: Vec<_> = inputs.collect();
        assert!(inputs.len() > 20, "{inputs:?}");
        let mut without = Vec::new();
        for message in all.iter().filter(|it| inputs.contains(&format!(".jeton.v1.{}", it.name()))) {
            for path in paths(&all, message, "") {
                if Given::Flags.word(&path).is_none() {
                    without.push(format!("{}: {path}", message.name()));
                }
            }
        }
        assert!(without.is_empty(), "no word of the command line for {without:#?}");
    }
}
