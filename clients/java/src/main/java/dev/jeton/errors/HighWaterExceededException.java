package dev.jeton.errors;

import java.util.OptionalLong;

/**
 * {@code HIGH_WATER_EXCEEDED} ({@code FAILED_PRECONDITION}). BulkRevoke would make the fleet hold more
 * revocations than its high-water mark.
 */
public final class HighWaterExceededException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public HighWaterExceededException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return held revocations, if the server told it
     */
    public OptionalLong heldRevocations() {
        return number("heldRevocations");
    }

    /**
     * Of the metadata.
     *
     * @return target count, if the server told it
     */
    public OptionalLong targetCount() {
        return number("targetCount");
    }

    /**
     * Of the metadata.
     *
     * @return high water, if the server told it
     */
    public OptionalLong highWater() {
        return number("highWater");
    }
}
