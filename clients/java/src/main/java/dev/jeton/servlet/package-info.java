/** The guard of servlets. Needs jakarta.servlet-api 5 or newer. */
package dev.jeton.servlet;
