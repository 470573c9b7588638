// `memory_object_init`: a kernel maps the object.

import CPlatform
import Synchronization

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// Takes over one reference each of the two send rights.
    func takeInit(_ control: mach_port_t, _ name: mach_port_t, _ clientPageSize: vm_size_t) {
        if control == 0 || control == .max {
            // It died on the way.
            refuse(.unknownControl, 0, UInt64(control))
            return turnAway(control, name, destroy: false)
        }
        if clientPageSize != vm_page_size {
            refuse(.badPageSize, UInt64(clientPageSize), UInt64(vm_page_size))
            return turnAway(control, name, destroy: true)
        }
        if pointee.closing.load(ordering: .acquiring) != 0 {
            refuse(.closing)
            return turnAway(control, name, destroy: true)
        }
        pointee.monitor.lock()
        let known = pointee.clients.search(control)
        let isGivenUp = known.map { $0.pointee.attached.load(ordering: .acquiring) == 0 || $0.pointee.leave != nil } ?? false
        pointee.monitor.unlock()
        if let known {
            // One that was given up is told once more.
            refuse(.secondInit, UInt64(control), UInt64(known.pointee.number))
            return turnAway(control, name, destroy: isGivenUp)
        }
        var port = control
        let excluding = beginTaking()
        let attached = attach(&port, name)
        endTaking(excluding)
        guard let client = attached else {
            if port == .max { refuse(.unknownControl, 0, UInt64(port)) } else { refuse(.noMemory) }
            return turnAway(port, name, destroy: port != 0 && port != .max)
        }
        takenIn()
        sendReady(client)
        release(client)
    }

    /// The kernel is told that it will not be served, so that it does not wait.
    private func turnAway(_ control: mach_port_t, _ name: mach_port_t, destroy: Bool) {
        takenIn()
        if destroy { sendDestroy(control) }
        _ = mach_port_deallocate(mach_task_self(), control)
        if name != 0 { _ = mach_port_deallocate(mach_task_self(), name) }
    }

    /// A new client, with a reference for the caller. nil: memory or the like is exhausted. `control`: the name that the port has then.
    private func attach(_ control: inout mach_port_t, _ name: mach_port_t) -> ClientPointer? {
        pointee.monitor.lock()
        // Room for all clients in the scratch states, so that no transition fails for want of it.
        guard pointee.descriptors.reserve(clients: Int(pointee.clients.used) + 1),
              let client = pointee.clients.allocate() else {
            pointee.monitor.unlock()
            return nil
        }
        pointee.monitor.unlock()

        let number = client.pointee.number
        var isRenamed = false
        if number < WordLayout.clients && pager_is_ours_alone(control) != 0 {
            // (Not where somebody else in our task has the right as well, or a message that was received bears its name.)
            let wanted = pointee.clients.core.pointee.base + number
            control = pager_rename_alone(control, wanted)
            isRenamed = control == wanted
        }
        // A port that is dead already announces that at once. A client whose death we could not learn of would be waited for.
        if control == 0 || control == .max || pager_request_dead_name(control, portName) != 0 {
            pointee.monitor.lock()
            pointee.clients.free(client)
            pointee.monitor.unlock()
            return nil
        }

        client.pointee.noticeOwed.store(1, ordering: .relaxed)
        pointee.monitor.lock()
        client.pointee.name = name
        client.pointee.isRenamed = isRenamed
        if number >= ClientTable.firstChunk { pointee.clients.index(client, control) }
        let attachment = pointee.clients.core.pointee.attachments.wrappingAdd(1, ordering: .relaxed).newValue
        client.pointee.attachment.store(attachment, ordering: .relaxed)
        client.pointee.references.store(2, ordering: .releasing)
        client.pointee.control.store(control, ordering: .releasing)
        client.pointee.attached.store(1, ordering: .sequentiallyConsistent)
        pointee.clients.core.pointee.attached.wrappingAdd(1, ordering: .sequentiallyConsistent)
        noteQuickClientLocked()
        pointee.monitor.unlock()
        return client
    }
}

extension ClientTable {
    /// Locked.
    func index(_ client: ClientPointer, _ control: mach_port_t) {
        let locked = core.pointee.locked
        locked.pointee.index.insert(UnsafeMutableRawPointer(client).assumingMemoryBound(to: HashLink.self),
                                  UInt64(control))
        client.pointee.isIndexed = true
        ClientHints(core.pointee.hints.load(ordering: .relaxed))?.note(control, client)
    }
}
