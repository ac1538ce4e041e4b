// One order is over before the other begins: a future says so. `async`, `promise` or `before`, where
// the order is made behind what the promise says.
#include <cstring>
#include <future>
#include <mutex>
#include <thread>

static std::mutex a, b;

static void forth() { std::scoped_lock<std::mutex> outer(a); std::scoped_lock<std::mutex> inner(b); }
static void back() { std::scoped_lock<std::mutex> outer(b); std::scoped_lock<std::mutex> inner(a); }

int main(int, char **words) {
    if (std::strcmp(words[1], "async") == 0) {
        std::async(std::launch::async, forth).get();
        std::async(std::launch::async, back).get();
        return 0;
    }
    bool is_before = std::strcmp(words[1], "before") == 0;
    std::promise<void> promise;
    std::future<void> future = promise.get_future();
    std::promise<void> waits;
    std::future<void> is_waiting = waits.get_future();
    std::thread hears([&] { waits.set_value(); future.get(); back(); });
    std::thread tells([&] {
        is_waiting.get();
        // Until the other thread has come to wait.
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
        if (!is_before) forth();
        promise.set_value();
        if (is_before) forth();
    });
    hears.join();
    tells.join();
}
