package dev.jeton;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import com.google.protobuf.TextFormat;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Prints messages of the API definitions without their secrets. Their own {@code toString} cannot be changed, and prints
 * all that they hold; methods of this library other than {@link Client#call} neither take nor give one that holds a
 * secret.
 */
public final class Redacted {
    private static final String HIDDEN = "[secret]";

    private Redacted() {}

    /**
     * Prints a message.
     *
     * @param message a request or an answer
     * @return one line, with {@code [secret]} in place of each token and key
     */
    public static String text(Message message) {
        return TextFormat.printer().emittingSingleLine(true).printToString(hide(message)).strip();
    }

    private static Message hide(Message message) {
        Message.Builder copy = message.toBuilder();
        for (Map.Entry<FieldDescriptor, Object> entry : message.getAllFields().entrySet()) {
            FieldDescriptor field = entry.getKey();
            if (field.getOptions().getDebugRedact()) {
                copy.setField(field, HIDDEN);
            } else if (field.getJavaType() == FieldDescriptor.JavaType.MESSAGE && !field.isMapField()) {
                Object value = entry.getValue();
                copy.setField(field, field.isRepeated() ? hideAll((List<?>) value) : hide((Message) value));
            }
        }
        return copy.build();
    }

    private static List<Message> hideAll(List<?> messages) {
        List<Message> all = new ArrayList<>();
        for (Object each : messages) {
            all.add(hide((Message) each));
        }
        return all;
    }
}
