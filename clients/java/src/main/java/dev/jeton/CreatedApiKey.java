package dev.jeton;

import dev.jeton.v1.ApiKey;

/**
 * An API key that was made. Its text does not print.
 *
 * @param secret the key
 * @param facts its id and times
 */
public record CreatedApiKey(Secret secret, ApiKey facts) {}
