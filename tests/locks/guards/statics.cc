// A static variable's constructor wants a mutex, whose holder wants the variable: `hang`, or at
// another time, `order`.
#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>

static std::mutex mutex;
static std::atomic<bool> is_held{false}, has_begun{false}, is_over{false};
static bool hangs;

struct Variable {
    Variable() {
        has_begun = true;
        while (hangs && !is_held) std::this_thread::yield();
        std::lock_guard<std::mutex> guard(mutex);
    }
};

static Variable &variable(int number) {
    if (number == 0) {
        static Variable first;
        return first;
    }
    static Variable second;
    return second;
}

int main(int, char **words) {
    hangs = std::strcmp(words[1], "hang") == 0;
    std::thread makes([] { variable(0); is_over = true; });
    std::thread holds([] {
        while (!(hangs ? has_begun : is_over)) std::this_thread::yield();
        if (!hangs) return;
        std::lock_guard<std::mutex> guard(mutex);
        is_held = true;
        variable(0);
    });
    makes.join();
    holds.join();
}
