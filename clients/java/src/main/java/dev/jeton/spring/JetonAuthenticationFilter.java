package dev.jeton.spring;

import dev.jeton.Guard;
import dev.jeton.Verdict;
import dev.jeton.servlet.GuardFilter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import org.springframework.security.core.context.SecurityContext;
import org.springframework.security.core.context.SecurityContextHolder;

/**
 * A guard for Spring Security: a request that passes is authenticated by a {@link JetonAuthentication}.
 *
 * <pre>{@code
 * http.addFilterBefore(new JetonAuthenticationFilter(guard), AuthorizationFilter.class)
 *     .authorizeHttpRequests(it -> it.requestMatchers("/orders").hasAuthority("SCOPE_orders.read"));
 * }</pre>
 */
public final class JetonAuthenticationFilter extends GuardFilter {
    /**
     * Makes the filter.
     *
     * @param guard judges the tokens
     */
    public JetonAuthenticationFilter(Guard guard) {
        super(guard);
    }

    @Override
    protected void pass(
            HttpServletRequest request, HttpServletResponse response, FilterChain chain, Verdict verdict)
            throws IOException, ServletException {
        SecurityContext before = SecurityContextHolder.getContext();
        SecurityContext context = SecurityContextHolder.createEmptyContext();
        context.setAuthentication(new JetonAuthentication(verdict));
        SecurityContextHolder.setContext(context);
        try {
            super.pass(request, response, chain, verdict);
        } finally {
            SecurityContextHolder.setContext(before);
        }
    }
}
