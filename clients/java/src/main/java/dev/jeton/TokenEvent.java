package dev.jeton;

import dev.jeton.errors.JetonException;
import java.util.Optional;

/**
 * What a token source tells. Holds no secret.
 *
 * @param kind what happened
 * @param jti the id of the token in hand; empty if there was none
 * @param sessionId its session; empty if it has none
 * @param error the error that ended the session, or that of the latest attempt to renew
 */
public record TokenEvent(Kind kind, String jti, String sessionId, Optional<JetonException> error) {
    /** What can happen. */
    public enum Kind {
        /** A renewal succeeded, the first included. */
        REFRESHED,
        /** The token was not renewed, and 10 % of its lifetime are left. */
        WILL_EXPIRE,
        /** The session is over: the source gets no other token. */
        SESSION_ENDED
    }
}
