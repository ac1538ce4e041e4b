// expect: uncovered
// Go's mutexes.
package main

import "sync"

func main() {
	var lock sync.Mutex
	var all sync.WaitGroup
	for i := 0; i < 4; i++ {
		all.Add(1)
		go func() {
			lock.Lock()
			lock.Unlock()
			all.Done()
		}()
	}
	all.Wait()
}
