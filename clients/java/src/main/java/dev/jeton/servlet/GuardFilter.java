package dev.jeton.servlet;

import dev.jeton.Guard;
import dev.jeton.Refusal;
import dev.jeton.RefusedException;
import dev.jeton.Verdict;
import jakarta.servlet.Filter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletRequest;
import jakarta.servlet.ServletResponse;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.cert.X509Certificate;
import java.util.Collections;
import java.util.Objects;

/**
 * Stands before servlets, and judges the token of each request. A request that passes has its verdict in the attribute
 * {@link Verdict#REQUEST_ATTRIBUTE}, and the subject as its {@code getRemoteUser}; any other gets 401, 403 or 503.
 */
public class GuardFilter implements Filter {
    private static final String CERTIFICATES = "jakarta.servlet.request.X509Certificate";

    private final Guard guard;

    /**
     * Makes the filter.
     *
     * @param guard judges the tokens
     */
    public GuardFilter(Guard guard) {
        this.guard = Objects.requireNonNull(guard);
    }

    /**
     * The verdict of a request that passed.
     *
     * @param request the request
     * @return its verdict
     * @throws IllegalStateException if no guard has judged it
     */
    public static Verdict verdict(ServletRequest request) {
        if (request.getAttribute(Verdict.REQUEST_ATTRIBUTE) instanceof Verdict verdict) {
            return verdict;
        }
        throw new IllegalStateException("no guard has judged this request");
    }

    @Override
    public final void doFilter(ServletRequest request, ServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        if (!(request instanceof HttpServletRequest http) || !(response instanceof HttpServletResponse answer)) {
            throw new ServletException("the guard judges requests of HTTP alone");
        }
        if (guard.isExcepted(path(http))) {
            chain.doFilter(request, response);
            return;
        }
        try {
            Verdict verdict = guard.judge(Collections.list(http.getHeaders("authorization")), certificate(http));
            http.setAttribute(Verdict.REQUEST_ATTRIBUTE, verdict);
            pass(new GuardedRequest(http, verdict), answer, chain, verdict);
        } catch (RefusedException refused) {
            refuse(answer, refused.refusal());
        }
    }

    /**
     * Lets a request pass. A subclass may do more around it.
     *
     * @param request the request, which knows its user
     * @param response the response
     * @param chain what stands behind the filter
     * @param verdict the verdict of the request
     * @throws IOException as the chain does
     * @throws ServletException as the chain does
     */
    protected void pass(
            HttpServletRequest request, HttpServletResponse response, FilterChain chain, Verdict verdict)
            throws IOException, ServletException {
        chain.doFilter(request, response);
    }

    /** As it was sent, without the context: what decodes it may differ from what serves it. */
    private static String path(HttpServletRequest request) {
        String uri = request.getRequestURI();
        String context = request.getContextPath();
        return context != null && uri.startsWith(context) ? uri.substring(context.length()) : uri;
    }

    private static X509Certificate certificate(HttpServletRequest request) {
        Object found = request.getAttribute(CERTIFICATES);
        return found instanceof X509Certificate[] chain && chain.length > 0 ? chain[0] : null;
    }

    private static void refuse(HttpServletResponse response, Refusal refusal) throws IOException {
        if (response.isCommitted()) {
            return;
        }
        response.reset();
        response.setStatus(refusal.httpStatus());
        refusal.httpHeaders().forEach(response::setHeader);
        byte[] body = refusal.httpBody().getBytes(StandardCharsets.UTF_8);
        response.setContentLength(body.length);
        response.getOutputStream().write(body);
    }
}
