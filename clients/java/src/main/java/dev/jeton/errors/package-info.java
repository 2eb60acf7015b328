/** Everything that can go wrong, one class for each kind: all are a {@link dev.jeton.errors.JetonException}. */
package dev.jeton.errors;
