/* source: https://github.com/equeim/tremotesf2/pull/191
 * hang: deadlock, repaired: nothing
 * A static object is made on first use: its constructor takes a mutex, and a thread that has the
 * mutex uses the object first. It is made once, so that no run goes well and has both orders. */
#include "bugs.h"

#include <mutex>

static std::mutex settings;

struct Registry {
    Registry() {
        meet();
        std::lock_guard<std::mutex> guard(settings);
    }
    int entries = 0;
};

template <int Number> static Registry &registry() {
    static Registry made;
    return made;
}

THREAD(uses_first) {
    registry<0>();
    return unused;
}
THREAD(uses_with_lock) {
    if (repaired) registry<0>();
    std::lock_guard<std::mutex> guard(settings);
    meet();
    registry<0>();
    return unused;
}
PROGRAM(uses_first, uses_with_lock)
