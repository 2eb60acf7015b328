//! The code of the README is the example, which is compiled, and run against a server by `scripts/test`.

#[test]
fn the_code_of_the_readme_is_the_example() {
    let example = include_str!("../examples/first_token.rs");
    let readme = include_str!("../README.md");
    // Without what only this repository asks for.
    let is_of_users = |line: &&str| !line.starts_with("//! ") && !line.starts_with("#[expect(");
    let code: Vec<_> = example.lines().filter(is_of_users).collect();
    assert!(readme.contains(&format!("```rust\n{}\n```", code.join("\n").trim())));
}
