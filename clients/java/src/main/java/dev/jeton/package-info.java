/**
 * Obtains, renews and judges tokens of jeton: {@link dev.jeton.Client}, {@link dev.jeton.TokenSource} and
 * {@link dev.jeton.Guard}.
 */
package dev.jeton;
