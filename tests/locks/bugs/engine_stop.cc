/* source: https://github.com/Tr3kkR/Yuzu/issues/2349
 * hang: deadlock, repaired: nothing
 * An engine is stopped under its mutex, across the joins of its workers; what a worker sends comes
 * to the engine, and wants that mutex. */
#include "bugs.h"

#include <functional>
#include <mutex>
#include <thread>
#include <vector>

struct Engine {
    std::mutex mutex;
    std::vector<std::thread> workers;
    std::atomic<bool> stops{false};
    int sent = 0;
    void send() { std::lock_guard<std::mutex> guard(mutex); ++sent; }
    void start(const std::function<void()> &send_function) {
        for (int i = 0; i < 2; ++i)
            workers.emplace_back([this, send_function] {
                while (!stops.load()) usleep(200);
                send_function();
            });
    }
    void stop() {
        std::unique_lock<std::mutex> guard(mutex);
        stops.store(true);
        if (repaired) guard.unlock();
        for (auto &worker : workers) worker.join();
    }
};

int main(int argc, char **argv) {
    set_form(argc, argv);
    Engine engine;
    engine.start([&engine] { engine.send(); });
    engine.stop();
    return 0;
}
