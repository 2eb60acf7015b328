package dev.jeton.spring;

import dev.jeton.Verdict;
import java.util.Objects;
import org.springframework.security.authentication.AbstractAuthenticationToken;
import org.springframework.security.core.authority.SimpleGrantedAuthority;

/** Who calls, as a guard judged it. Each scope {@code x} is the authority {@code SCOPE_x}. Holds no token. */
public final class JetonAuthentication extends AbstractAuthenticationToken {
    private static final long serialVersionUID = 1;

    private final transient Verdict verdict;
    private final String subject;

    /**
     * For the filter and for tests.
     *
     * @param verdict of a token that passed
     */
    public JetonAuthentication(Verdict verdict) {
        super(verdict.scopes().stream()
                .map(scope -> new SimpleGrantedAuthority("SCOPE_" + scope))
                .toList());
        this.verdict = verdict;
        subject = verdict.subject();
        super.setAuthenticated(verdict.isActive());
    }

    /**
     * The verdict.
     *
     * @return all that jeton says of the token
     */
    public Verdict verdict() {
        return verdict;
    }

    @Override
    public Object getCredentials() {
        return "";
    }

    @Override
    public Object getPrincipal() {
        return subject;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof JetonAuthentication same
                && super.equals(other)
                && Objects.equals(verdict, same.verdict);
    }

    @Override
    public int hashCode() {
        return super.hashCode();
    }
}
