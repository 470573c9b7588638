// pager_change_attributes.
//
// `change_completed` does not say which client it is from. So where somebody waits, one client is asked at a time, by one
// caller at a time: whatever answer comes is that client's.
//
// Who tells a client attributes looks afterwards whether they are still the pager's, and tells it the new ones if not. So, whatever the order
// in which `memory_object_ready` and several callers' messages leave, the last that a client hears is true.

import CPlatform
import Synchronization

struct Attributes: Equatable {
    var mayCache: boolean_t
    var copyStrategy: memory_object_copy_strategy_t
}

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
                tell(client, wait)
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

    /// `memory_object_ready`. The caller holds a reference of the client.
    func sendReady(_ client: ClientPointer) {
        let said = attributes()
        send(client.pointee.number, 0) { pager_control_memory_object_ready($0, said.mayCache, said.copyStrategy) }
        if attributes() != said { tell(client, false) }
    }

    private func attributes() -> Attributes {
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        return Attributes(mayCache: locked.pointee.mayCache, copyStrategy: locked.pointee.copyStrategy)
    }

    private func tell(_ client: ClientPointer, _ wait: Bool) {
        var said: Attributes
        repeat {
            said = attributes()
            if wait { ask(client, said) } else {
                send(client.pointee.number, 0) {
                    pager_control_memory_object_change_attributes($0, said.mayCache, said.copyStrategy, 0)
                }
            }
        } while attributes() != said
    }

    /// Tells the client and waits for its answer, or its end.
    private func ask(_ client: ClientPointer, _ said: Attributes) {
        pointee.monitor.lock()
        locked.pointee.attributeChange.asked = client.pointee.number
        pointee.monitor.unlock()
        let name = portName
        send(client.pointee.number, 0) {
            pager_control_memory_object_change_attributes($0, said.mayCache, said.copyStrategy, name)
        }
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
