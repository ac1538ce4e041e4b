/* source: https://github.com/microsoft/DirectXShaderCompiler/pull/4818
 * order: nothing
 * Many threads call std::call_once at the same moment: one runs the function, the others wait. */
#include "bugs.h"

#include <mutex>
#include <thread>
#include <vector>

static std::once_flag once;
static std::mutex passes;

int main(int argc, char **argv) {
    set_form(argc, argv);
    std::atomic<int> arrived{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&arrived] {
            ++arrived;
            while (arrived.load() < 8) usleep(100);
            std::call_once(once, [] { std::lock_guard<std::mutex> guard(passes); usleep(20000); });
            std::lock_guard<std::mutex> guard(passes);
        });
    for (auto &thread : threads) thread.join();
    return 0;
}
