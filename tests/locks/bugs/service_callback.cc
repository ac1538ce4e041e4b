/* source: https://github.com/ros2/rmw_connextdds/pull/123
 * hang: deadlock, repaired: nothing
 * A user's callback runs under a mutex and calls the library. The fix makes the mutex recursive. */
#include "bugs.h"

#include <functional>
#include <mutex>

template <class Mutex> struct Service {
    Mutex mutex;
    int requests = 0;
    std::function<void()> callback;
    int count() { std::lock_guard<Mutex> guard(mutex); return requests; }
    void receive() {
        std::lock_guard<Mutex> guard(mutex);
        ++requests;
        callback();
    }
};
template <class Mutex> static void serve() {
    Service<Mutex> service;
    service.callback = [&service] { service.count(); };
    service.receive();
}
int main(int argc, char **argv) {
    set_form(argc, argv);
    repaired ? serve<std::recursive_mutex>() : serve<std::mutex>();
    return 0;
}
