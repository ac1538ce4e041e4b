/* source: https://github.com/equeim/tremotesf2/pull/191
 * hang: deadlock, repaired: nothing
 * The constructor of a static object takes a mutex. A thread that holds the mutex uses the
 * object first. The object is created once, so no run without a deadlock has both orders. */
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
