/** The guard of Spring Security. Needs spring-security-web 6 or newer. */
package dev.jeton.spring;
