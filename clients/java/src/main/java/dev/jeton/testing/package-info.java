/** A double of jeton for tests, without a server and a network. */
package dev.jeton.testing;
