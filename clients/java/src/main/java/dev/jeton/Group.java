package dev.jeton;

import java.util.List;

/** The endpoints of one listener, and which of them is current. */
final class Group {
    final List<Endpoint> endpoints;
    private volatile int current;

    Group(List<Endpoint> endpoints) {
        this.endpoints = List.copyOf(endpoints);
    }

    /** The places of all endpoints, the current one first. */
    int[] round() {
        int first = current;
        int[] places = new int[endpoints.size()];
        for (int step = 0; step < places.length; step++) {
            places[step] = (first + step) % places.length;
        }
        return places;
    }

    void answered(int place) {
        if (current != place) {
            current = place;
        }
    }

    /** The endpoint that is {@code skip} places after the current one. */
    Endpoint after(int skip) {
        return endpoints.get((current + skip) % endpoints.size());
    }
}
