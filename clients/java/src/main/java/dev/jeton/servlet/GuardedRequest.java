package dev.jeton.servlet;

import dev.jeton.Verdict;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletRequestWrapper;
import java.security.Principal;

/** A request whose user is the subject of its token, and whose roles are the scopes. */
final class GuardedRequest extends HttpServletRequestWrapper {
    private final Verdict verdict;

    GuardedRequest(HttpServletRequest request, Verdict verdict) {
        super(request);
        this.verdict = verdict;
    }

    @Override
    public String getAuthType() {
        return "Bearer";
    }

    @Override
    public String getRemoteUser() {
        return verdict.subject();
    }

    @Override
    public Principal getUserPrincipal() {
        return verdict::subject;
    }

    @Override
    public boolean isUserInRole(String role) {
        return verdict.scopes().contains(role);
    }
}
