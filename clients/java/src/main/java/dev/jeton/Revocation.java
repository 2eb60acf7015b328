package dev.jeton;

import com.google.protobuf.Timestamp;
import dev.jeton.v1.Reach;
import dev.jeton.v1.RevocationReason;
import dev.jeton.v1.RevocationTarget;
import dev.jeton.v1.RevokeRequest;
import java.time.Duration;
import java.time.Instant;
import java.util.Objects;

/**
 * What is to be revoked, and how. The text of a token does not print. Methods that begin with {@code of} name the target;
 * each other one returns a copy that asks for more.
 *
 * <pre>{@code
 * client.revoke(Revocation.ofSession(id).because(RevocationReason.REVOCATION_REASON_LOGOUT));
 * }</pre>
 */
public final class Revocation {
    private final RevokeRequest request;

    private Revocation(RevokeRequest request) {
        this.request = request;
    }

    private static Revocation of(RevocationTarget.Builder target) {
        return new Revocation(RevokeRequest.newBuilder().setTarget(target).build());
    }

    private Revocation with(RevokeRequest.Builder changed) {
        return new Revocation(changed.build());
    }

    /**
     * One token.
     *
     * @param token an access token, or a refresh token, which means its session
     * @return the revocation
     */
    public static Revocation ofToken(Secret token) {
        return of(RevocationTarget.newBuilder().setToken(token.reveal()));
    }

    /**
     * One token.
     *
     * @param jti its id
     * @return the revocation
     */
    public static Revocation ofJti(String jti) {
        return of(RevocationTarget.newBuilder().setJti(jti));
    }

    /**
     * One session, with its tokens.
     *
     * @param id its id
     * @return the revocation
     */
    public static Revocation ofSession(String id) {
        return of(RevocationTarget.newBuilder().setSessionId(id));
    }

    /**
     * The session that has an id; otherwise the token that has it.
     *
     * @param id a UUID of which nobody says what it is
     * @return the revocation
     */
    public static Revocation ofId(String id) {
        return of(RevocationTarget.newBuilder().setId(id));
    }

    /**
     * All tokens and sessions of a subject: a wide target, for {@link Admin#revoke}.
     *
     * @param name its exact name
     * @return the revocation
     */
    public static Revocation ofSubject(String name) {
        return of(RevocationTarget.newBuilder().setSubject(name));
    }

    /**
     * All tokens and sessions that a client obtained: a wide target, for {@link Admin#revoke}.
     *
     * @param id its id
     * @return the revocation
     */
    public static Revocation ofClient(String id) {
        return of(RevocationTarget.newBuilder().setClientId(id));
    }

    /**
     * All tokens that a key signed: a wide target, for {@link Admin#revoke}. The key signs no more.
     *
     * @param id its id
     * @return the revocation
     */
    public static Revocation ofKey(String id) {
        return of(RevocationTarget.newBuilder().setKeyId(id));
    }

    /**
     * All tokens for an audience, and all sessions that name it: a wide target, for {@link Admin#revoke}.
     *
     * @param name the audience
     * @return the revocation
     */
    public static Revocation ofAudience(String name) {
        return of(RevocationTarget.newBuilder().setAllForAudience(name));
    }

    /**
     * Only what was issued before an instant; with wide targets, but for a key.
     *
     * @param time whole seconds, by the server's clock
     * @return a copy
     */
    public Revocation issuedBefore(Instant time) {
        RevokeRequest.Builder changed = request.toBuilder();
        changed.getTargetBuilder()
                .setIssueCutoffTime(Timestamp.newBuilder().setSeconds(time.getEpochSecond()).setNanos(time.getNano()));
        return with(changed);
    }

    /**
     * Only what is for an audience; with a subject or a client.
     *
     * @param name the audience
     * @return a copy
     */
    public Revocation withinAudience(String name) {
        RevokeRequest.Builder changed = request.toBuilder();
        changed.getTargetBuilder().setAudience(name);
        return with(changed);
    }

    /**
     * Why. Needed for a wide target.
     *
     * @param reason the reason
     * @return a copy
     */
    public Revocation because(RevocationReason reason) {
        return with(request.toBuilder().setReason(reason));
    }

    /**
     * A remark for the audit trail.
     *
     * @param text at most 500 characters
     * @return a copy
     */
    public Revocation note(String text) {
        return with(request.toBuilder().setNote(text));
    }

    /**
     * Changes nothing: the answer says what would happen.
     *
     * @return a copy
     */
    public Revocation validateOnly() {
        return with(request.toBuilder().setValidateOnly(true));
    }

    /**
     * Is refused when it would hit more live sessions.
     *
     * @param count so many
     * @return a copy
     */
    public Revocation maxAffectedSessions(long count) {
        return with(request.toBuilder().setMaxAffectedSessions(count));
    }

    /**
     * Waits until it holds so far.
     *
     * @param reach on all replicas, unless given
     * @param longest how long to wait for that; the answer says whether it was reached
     * @return a copy
     */
    public Revocation waitFor(Reach reach, Duration longest) {
        return with(request.toBuilder().setWaitFor(reach).setWaitTimeout(SourceOptions.proto(longest)));
    }

    /**
     * Locks the subject or client, too: nothing is issued for it meanwhile.
     *
     * @param duration for so long
     * @return a copy
     */
    public Revocation lock(Duration duration) {
        return with(request.toBuilder().setLockTtl(SourceOptions.proto(duration)));
    }

    RevokeRequest request() {
        return request;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Revocation revocation && request.equals(revocation.request);
    }

    @Override
    public int hashCode() {
        return Objects.hash(request);
    }

    @Override
    public String toString() {
        return "Revocation[" + Redacted.text(request) + "]";
    }
}
