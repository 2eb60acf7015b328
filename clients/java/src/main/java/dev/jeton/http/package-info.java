/** Tokens for {@link java.net.http.HttpClient}. */
package dev.jeton.http;
