# expect: nothing
"""A thread takes a lock twice, and another thread releases it: a notification."""

import threading
import time

done = threading.Lock()


def work() -> None:
    time.sleep(0.5)
    done.release()


done.acquire()
thread = threading.Thread(target=work)
thread.start()
done.acquire()
thread.join()
