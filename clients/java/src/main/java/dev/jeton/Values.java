package dev.jeton;

import com.google.protobuf.ListValue;
import com.google.protobuf.NullValue;
import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Claims as values of Java: texts, doubles, booleans, nulls, lists and maps. */
final class Values {
    private Values() {}

    static Map<String, Object> map(Struct struct) {
        if (struct.getFieldsCount() == 0) {
            return Map.of();
        }
        Map<String, Object> found = new LinkedHashMap<>();
        struct.getFieldsMap().forEach((name, value) -> found.put(name, value(value)));
        return Collections.unmodifiableMap(found);
    }

    static Struct struct(Map<String, ?> map) {
        Struct.Builder made = Struct.newBuilder();
        map.forEach((name, value) -> made.putFields(name, value(value)));
        return made.build();
    }

    private static Object value(Value value) {
        return switch (value.getKindCase()) {
            case STRING_VALUE -> value.getStringValue();
            case NUMBER_VALUE -> value.getNumberValue();
            case BOOL_VALUE -> value.getBoolValue();
            case STRUCT_VALUE -> map(value.getStructValue());
            case LIST_VALUE -> {
                List<Object> all = new ArrayList<>();
                value.getListValue().getValuesList().forEach(each -> all.add(value(each)));
                yield Collections.unmodifiableList(all);
            }
            default -> null;
        };
    }

    private static Value value(Object value) {
        Value.Builder made = Value.newBuilder();
        if (value == null) {
            return made.setNullValue(NullValue.NULL_VALUE).build();
        } else if (value instanceof CharSequence text) {
            return made.setStringValue(text.toString()).build();
        } else if (value instanceof Boolean flag) {
            return made.setBoolValue(flag).build();
        } else if (value instanceof Number number) {
            return made.setNumberValue(number.doubleValue()).build();
        } else if (value instanceof Iterable<?> all) {
            ListValue.Builder list = ListValue.newBuilder();
            all.forEach(each -> list.addValues(value(each)));
            return made.setListValue(list).build();
        } else if (value instanceof Map<?, ?> map) {
            Struct.Builder struct = Struct.newBuilder();
            map.forEach((name, each) -> struct.putFields(String.valueOf(name), value(each)));
            return made.setStructValue(struct).build();
        }
        throw new IllegalArgumentException("a claim is a text, number, boolean, list or map, not a "
                + value.getClass().getName());
    }
}
