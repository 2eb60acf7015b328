//! `jeton context`: named deployments.

use std::path::PathBuf;

use crate::{
    invocation::Cli,
    remote::{
        contexts::{Context, Contexts, load, path, save, unknown},
        endpoint::Endpoints,
        tls::Files,
    },
    term::{
        exit::{Exit, Failure},
        json, output,
        token_input::check_key_file_name,
    },
};

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub enum ContextCommand {
    /// Keep --endpoint, --admin-endpoint, --api-key-file and the files of TLS under a name
    Add {
        /// Its name
        name: String,
        /// In place of --api-key-file: a program that prints the API key, and its arguments. It is run without a shell, for
        /// at most 10 s
        #[arg(last = true, value_name = "CREDENTIAL COMMAND")]
        credential_command: Vec<String>,
    },
    /// Use this context from now on
    Use {
        /// Its name
        name: String,
    },
    /// List contexts
    List,
    /// Forget a context
    Remove {
        /// Its name
        name: String,
    },
}

/// Runs one of the verbs.
pub fn run(cli: &Cli<'_>, command: ContextCommand) -> Result<Exit, Failure> {
    let path = path(cli)?;
    let mut all = load(&path)?;
    match command {
        ContextCommand::Add { name, credential_command } => {
            check_name(&name)?;
            let done = match all.contexts.insert(name.clone(), given(cli, credential_command)?) {
                Some(_) => "replaced",
                None => "added",
            };
            save(&path, &all)?;
            output::talk(&format!(
                "{done} {name}. Use it with `jeton context use {name}`, or --context {name}."
            ));
        }
        ContextCommand::Use { name } => {
            if !all.contexts.contains_key(&name) {
                return Err(unknown(&name));
            }
            all.current = Some(name.clone());
            save(&path, &all)?;
            output::talk(&format!("using {name}."));
        }
        ContextCommand::List => list(cli, &all)?,
        ContextCommand::Remove { name } => {
            all.contexts.remove(&name).ok_or_else(|| unknown(&name))?;
            if all.current.as_ref() == Some(&name) {
                all.current = None;
            }
            save(&path, &all)?;
            output::talk(&format!("removed {name}. The file with its API key is untouched."));
        }
    }
    Ok(Exit::Done)
}

/// Checks a name: it is typed on command lines, and shown.
fn check_name(name: &str) -> Result<(), Failure> {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Failure::Usage("a context's name is printable ASCII without spaces. Give another.".into()))
}

fn given(cli: &Cli<'_>, mut command: Vec<String>) -> Result<Context, Failure> {
    let globals = cli.globals;
    if !command.is_empty() && globals.api_key_file.is_some() {
        return Err(Failure::Usage(
            "a context has one credential. Give --api-key-file, or a program behind --, not both.".into(),
        ));
    }
    if let Some(program) = command.first_mut().filter(|program| program.contains('/')) {
        // The next call may come from another directory.
        *program = cli.env.current_dir.join(&*program).display().to_string();
    }
    if let Some(path) = &globals.api_key_file {
        check_key_file_name(path)?;
    }
    if globals.endpoint.is_none() && globals.admin_endpoint.is_none() {
        return Err(Failure::Usage(
            "a context needs a server. Give --endpoint, --admin-endpoint or both.".into(),
        ));
    }
    let urls =
        |given: &Option<Endpoints>| given.as_ref().map(|given| given.urls().to_vec()).unwrap_or_default();
    let tls = Files::given(globals)?.absolute(&cli.env.current_dir);
    Ok(Context {
        endpoint: urls(&globals.endpoint),
        admin_endpoint: urls(&globals.admin_endpoint),
        api_key_file: globals.api_key_file.as_ref().map(|file| cli.env.current_dir.join(file)),
        credential_command: command,
        tls_ca: tls.ca,
        tls_cert: tls.certificate,
        tls_key: tls.key,
    })
}

/// Endpoints as they are given to a flag.
fn some(urls: &[String]) -> Option<String> {
    Some(urls.join(",")).filter(|text| !text.is_empty())
}

fn list(cli: &Cli<'_>, all: &Contexts) -> Result<(), Failure> {
    if cli.output.wants_json()? {
        let contexts: Vec<_> = all
            .contexts
            .iter()
            .map(|(name, context)| {
                serde_json::json!({
                    "name": name,
                    "current": all.current.as_ref() == Some(name),
                    "endpoint": some(&context.endpoint),
                    "adminEndpoint": some(&context.admin_endpoint),
                    "apiKeyFile": context.api_key_file,
                    "credentialCommand": context.credential_command,
                    "tlsCa": context.tls_ca,
                    "tlsCert": context.tls_cert,
                    "tlsKey": context.tls_key,
                })
            })
            .collect();
        return output::data(&json::of_own(&serde_json::json!({ "contexts": contexts }))?);
    }
    let row = |(name, context): (&String, &Context)| {
        let current = if all.current.as_ref() == Some(name) { "*" } else { "-" };
        let shown =
            |file: &Option<PathBuf>| file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
        vec![
            current.to_owned(),
            name.clone(),
            some(&context.endpoint).unwrap_or_default(),
            some(&context.admin_endpoint).unwrap_or_default(),
            if context.credential_command.is_empty() {
                shown(&context.api_key_file)
            } else {
                format!("by {}", context.credential_command.join(" "))
            },
            shown(&context.tls_ca),
            shown(&context.tls_cert),
        ]
    };
    let rows = all.contexts.iter().map(row).collect();
    output::table(&["", "NAME", "ENDPOINT", "ADMIN ENDPOINT", "API KEY", "CA", "CERTIFICATE"], rows)
}
