//! The manual pages, from the parser.

use std::path::Path;

use anyhow::Context as _;
use clap::Command;
use clap_mangen::Man;

use crate::args::{examples, help::EXIT_CODES};

/// The page of `jeton` itself.
pub fn page(command: Command) -> anyhow::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(with_examples(command, "")).render(&mut page).context("the page cannot be made")?;
    Ok(page)
}

/// Writes a page for each verb: `jeton-issue.1`. Returns how many.
pub fn write_all(command: Command, directory: &Path) -> anyhow::Result<usize> {
    let cannot = || format!("{} cannot be written", directory.display());
    std::fs::create_dir_all(directory).with_context(cannot)?;
    let mut command = with_examples(command, "").disable_help_subcommand(true);
    command.build();
    write(&command, "jeton", directory).with_context(cannot)
}

fn write(command: &Command, name: &str, directory: &Path) -> std::io::Result<usize> {
    let mut page = Vec::new();
    Man::new(command.clone().display_name(name.to_owned())).render(&mut page)?;
    std::fs::write(directory.join(format!("{name}.1")), page)?;
    let mut count: usize = 1;
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = format!("{name}-{}", verb.get_name());
        count = count.saturating_add(write(verb, &name, directory)?);
    }
    Ok(count)
}

/// A page has its examples at the end.
fn with_examples(command: Command, path: &str) -> Command {
    let text = match examples::of(path) {
        Some(lines) => format!("Examples:\n\n{}", lines.join("\n\n")),
        None if path.is_empty() => format!("Exit codes:\n\n{}", EXIT_CODES.replace('\n', "\n\n")),
        None => String::new(),
    };
    let path = path.to_owned();
    // What the short help leaves out, a page shows.
    let command = command.mut_args(|arg| arg.hide_short_help(false));
    command.after_help(text.clone()).after_long_help(text).mut_subcommands(|verb| {
        let path = format!("{path} {}", verb.get_name()).trim().to_owned();
        with_examples(verb, &path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::command;

    #[test]
    fn there_is_a_page_for_each_verb() -> anyhow::Result<()> {
        let page = String::from_utf8(page(command(|_| true))?)?;
        assert!(page.starts_with(".ie") && page.contains("Exit codes"), "{page}");
        assert!(
            page.contains("The file that holds the API key"),
            "the flags of every verb have their words: {page}"
        );
        let directory = tempfile::tempdir()?;
        let count = write_all(command(|_| true), directory.path())?;
        assert_eq!(std::fs::read_dir(directory.path())?.count(), count);
        let issue = std::fs::read_to_string(directory.path().join("jeton-issue.1"))?;
        assert!(issue.contains("Examples:") && issue.contains("\\-\\-subject"), "{issue}");
        assert!(directory.path().join("jeton-client-add-key.1").exists());
        assert!(!directory.path().join("jeton-complete-values.1").exists());
        Ok(())
    }
}
