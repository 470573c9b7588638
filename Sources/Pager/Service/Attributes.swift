// pager_change_attributes.
//
// `change_completed` does not say which client it is from. So where somebody waits, one client is asked at a time, by one
// caller at a time: whatever answer comes is that client's.

import CPlatform
import Synchronization

/// Locked.
struct AttributeChange {
    /// A caller is at it.
    var isBusy = false
    /// The client that was asked and has not answered, or `noClient`.
    var asked = noClient

    mutating func clientGone(_ number: ClientNumber) {
        if asked == number { asked = noClient }
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    func changeAttributes(mayCache: boolean_t, copyStrategy: memory_object_copy_strategy_t, wait: Bool) {
        let waiting = wait ? Worker.beginWait() : Worker.Waiting()
        defer { Worker.endWait(waiting) }
        pointee.monitor.lock()
        if wait {
            while locked.pointee.attributeChange.isBusy { _ = pointee.monitor.wait() }
            locked.pointee.attributeChange.isBusy = true
        }
        locked.pointee.mayCache = mayCache
        locked.pointee.copyStrategy = copyStrategy
        pointee.monitor.unlock()

        var number: ClientNumber = 0
        while number < clientNumbersUsed() {
            let client = pointee.clients.client(number)
            if client.pointee.attached.load(ordering: .acquiring) != 0 && client.acquire() {
                tell(client, mayCache, copyStrategy, wait)
                release(client)
            }
            number += 1
        }
        if !wait { return }
        pointee.monitor.lock()
        locked.pointee.attributeChange.isBusy = false
        pointee.monitor.wakeAll()
        pointee.monitor.unlock()
    }

    private func tell(_ client: ClientPointer, _ mayCache: boolean_t, _ copyStrategy: memory_object_copy_strategy_t,
                      _ wait: Bool) {
        let number = client.pointee.number
        if !wait {
            send(number, 0) { memory_object_change_attributes($0, mayCache, copyStrategy, 0) }
            return
        }
        pointee.monitor.lock()
        locked.pointee.attributeChange.asked = client.pointee.number
        pointee.monitor.unlock()
        let name = portName
        send(number, 0) { memory_object_change_attributes($0, mayCache, copyStrategy, name) }
        pointee.monitor.lock()
        // Its end, should it have begun before it was noted as asked, is seen here; a later one wakes us.
        if client.pointee.attached.load(ordering: .sequentiallyConsistent) == 0 {
            locked.pointee.attributeChange.asked = noClient
        }
        while locked.pointee.attributeChange.asked != noClient { _ = pointee.monitor.wait() }
        pointee.monitor.unlock()
    }

    func takeChangeCompleted(_ mayCache: boolean_t, _ copyStrategy: memory_object_copy_strategy_t) {
        pointee.monitor.lock()
        let asked = locked.pointee.attributeChange.asked != noClient
        locked.pointee.attributeChange.asked = noClient
        if asked { pointee.monitor.wakeAll() }
        pointee.monitor.unlock()
        takenIn()
        if !asked { refuse(.strayChangeCompleted, UInt64(UInt32(bitPattern: mayCache)), UInt64(UInt32(bitPattern: copyStrategy))) }
    }
}
