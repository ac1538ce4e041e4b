// One order is over before the other begins: a future says so. `async`, `promise` or `before`, where
// the order is made behind what the promise says: a flag keeps the two from meeting, and hands nothing
// over.
#include <atomic>
#include <cstring>
#include <fstream>
#include <future>
#include <mutex>
#include <string>
#include <thread>

#include <unistd.h>

static std::mutex a, b;

static void forth() { std::scoped_lock<std::mutex> outer(a); std::scoped_lock<std::mutex> inner(b); }
static void back() { std::scoped_lock<std::mutex> outer(b); std::scoped_lock<std::mutex> inner(a); }

static bool is_asleep(int thread) {
    std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
    std::string line;
    std::getline(file, line);
    size_t name_end = line.rfind(") ");
    return name_end != std::string::npos && line[name_end + 2] == 'S';
}

int main(int, char **words) {
    if (std::strcmp(words[1], "async") == 0) {
        std::async(std::launch::async, forth).get();
        std::async(std::launch::async, back).get();
        return 0;
    }
    bool is_before = std::strcmp(words[1], "before") == 0;
    std::promise<void> promise;
    std::future<void> future = promise.get_future();
    std::atomic<int> hearer{0};
    std::atomic<bool> is_done{false};
    std::thread hears([&] {
        hearer = gettid();
        future.get();
        while (!is_done) std::this_thread::yield();
        back();
    });
    std::thread tells([&] {
        // Until the other thread waits: a future that is ready already is read without a call.
        while (hearer == 0 || !is_asleep(hearer)) std::this_thread::yield();
        if (!is_before) forth();
        // Before the promise is kept, where that alone is to separate the orders.
        is_done = !is_before;
        promise.set_value();
        if (is_before) forth();
        is_done = true;
    });
    hears.join();
    tells.join();
}
