package dev.jeton;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class BearerTest {
    @Test
    void takesPrintableCharactersAlone() {
        // Eight are looked at together: each character stands at each place, and in the rest behind the last eight.
        for (int length : new int[] {1, 7, 8, 9, 16, 21}) {
            for (int place = 0; place < length; place++) {
                for (char each = 0; each < 0x300; each++) {
                    StringBuilder text = new StringBuilder("~!".repeat(length).substring(0, length));
                    text.setCharAt(place, each);
                    String token = text.toString();
                    if (each >= '!' && each <= '~') {
                        assertEquals(token, Bearer.bytes(token).toStringUtf8());
                    } else {
                        var refused = assertThrows(RefusedException.class, () -> Bearer.bytes(token));
                        assertEquals("MALFORMED", refused.refusal().reason());
                    }
                }
            }
        }
    }

    @Test
    void takesTokensUpToTheirLongest() {
        assertEquals(8192, Bearer.bytes("x".repeat(8192)).size());
        for (String token : new String[] {"", "x".repeat(8193), "\ud83d\ude00", "\ud83d"}) {
            assertThrows(RefusedException.class, () -> Bearer.bytes(token));
        }
    }
}
