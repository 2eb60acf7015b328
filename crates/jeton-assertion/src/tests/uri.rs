//! URIs in one spelling (RFC 3986 section 6.2).

use proptest::prelude::*;

use super::super::HttpUri;

fn normal(text: &str) -> Option<String> {
    HttpUri::parse(text).map(|uri| uri.as_str().to_owned())
}

#[test]
fn equal_resources_have_one_text() {
    for (text, expected) in [
        ("https://a.example", "https://a.example/"),
        ("https://a.example/", "https://a.example/"),
        ("HTTPS://A.Example:443", "https://a.example/"),
        ("https://a.example:/x", "https://a.example/x"),
        ("https://a.example:0443/x", "https://a.example/x"),
        ("http://a.example:80/x", "http://a.example/x"),
        ("http://a.example:443/x", "http://a.example:443/x"),
        ("https://a.example?x=/y", "https://a.example/"),
        ("https://a.example#x", "https://a.example/"),
        ("https://a.example/x?y#z", "https://a.example/x"),
        ("https://a.example/%7eada/%2f%3a", "https://a.example/~ada/%2F%3A"),
        ("https://a.example/a/./b/../c", "https://a.example/a/c"),
        ("https://a.example/a/%2e%2E/c", "https://a.example/c"),
        ("https://a.example/../../x", "https://a.example/x"),
        ("https://a.example/a/..", "https://a.example/"),
        ("https://a.example/a/b/..", "https://a.example/a/"),
        ("https://a.example/a/.", "https://a.example/a/"),
        ("https://a.example//x//", "https://a.example//x//"),
        ("https://[::1]:8443/x", "https://[::1]:8443/x"),
        ("https://[0:0:0:0:0:0:0:1]/x", "https://[::1]/x"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"),
    ] {
        assert_eq!(normal(text).as_deref(), Some(expected), "{text}");
    }
    assert!(HttpUri::parse("https://a").unwrap().is_https());
    assert!(!HttpUri::parse("http://a").unwrap().is_https());
}

#[test]
fn what_differs_stays_different() {
    let texts = [
        "http://a/x",
        "https://a/x",
        "https://a/X",
        "https://a/x/",
        "https://a/x%2F",
        "https://a:444/x",
        "https://b/x",
    ];
    for (i, one) in texts.iter().enumerate() {
        for (j, other) in texts.iter().enumerate() {
            assert_eq!(HttpUri::parse(one).unwrap() == HttpUri::parse(other).unwrap(), i == j);
        }
    }
}

#[test]
fn other_texts_are_no_uri() {
    for text in [
        "",
        "/x",
        "//a/x",
        "a.example/x",
        "ftp://a/x",
        "https:/a/x",
        "https://",
        "https:///x",
        "https://:443/x",
        "https://u@a/x",
        "https://u:p@a/x",
        "https://a:b/x",
        "https://a:65536/x",
        "https://a:-1/x",
        "https://a:1:2/x",
        "https://a/x y",
        "https://a/x\n",
        "https://a/ü",
        "https://a/%",
        "https://a/%4",
        "https://a/%zz",
        "https://a/%+1",
        "https://a/\"x\"",
        "https://a/\\x",
        "https://a%2e/x",
        "https://[::1/x",
        "https://[::g]/x",
        "https://[::1]x/x",
        "https://::1/x",
        &format!("https://a/{}", "x".repeat(2_040)),
    ] {
        assert_eq!(normal(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn a_normal_text_is_its_own_normal_form(text in "https?://[a-z]{1,4}(:[0-9]{1,5})?(/[a-zA-Z.%0-9~]{0,6}){0,5}") {
        if let Some(uri) = HttpUri::parse(&text) {
            prop_assert_eq!(HttpUri::parse(uri.as_str()), Some(uri.clone()), "{}", text);
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,60}") {
        prop_assert!(HttpUri::parse(&text).is_none_or(|uri| uri.as_str().starts_with("http")));
    }
}
