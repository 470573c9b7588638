// Worlds in traces, one line each.

@testable import Pager

extension World {
    func summary(_ state: ModelState) -> String {
        var text = "{\(state)} disk v\(disk)"
        if writeBack.newest != .none { text += " \(writeBack.newest) v\(writeBack.version)" }
        if writeBack.olderIsWriting { text += " writing v\(writeBack.olderVersion)" }
        if owner.work != .none {
            text += " owner:\(owner.work)"
            if owner.sends { text += "(to \(clients(owner.recipients)), left \(clients(owner.unsent))\(owner.write ? ", writable" : ""))" }
            if owner.hasData { text += " v\(owner.version)" }
        }
        for client in 0..<World.maximumClients where kernels[client].life != .away {
            text += " | k\(client) \(kernels[client].summary)"
        }
        return text
    }

    private func clients(_ mask: UInt8) -> String {
        (0..<World.maximumClients).filter { mask >> $0 & 1 != 0 }.map(String.init).joined(separator: ",")
    }
}

extension Kernel {
    var summary: String {
        var text = life == .dying ? "dying" : "\(page)"
        if isPresent {
            text += " v\(version)\(locked ? " locked" : "")\(dirty ? " dirty" : "")\(precious ? " precious" : "")"
        }
        if unlocking { text += " unlocking" }
        if unsent != .none { text += " (unsent: \(unsent))" }
        if granted { text += " granted" }
        if lateRequest != .none { text += " late:request \(lateRequest)" }
        if lateUnlock { text += " late:unlock" }
        var rest = channel
        while rest != 0 {
            let message = Message(raw: UInt8(truncatingIfNeeded: rest))
            switch message.kind {
            case .request: text += " <\(message.write ? "request write" : "request read")"
            case .unlock: text += " <unlock"
            case .returned: text += " <return v\(message.version)\(message.dirty ? "" : " clean")\(message.keepsCopy ? " keeps" : "")"
            case .lockCompleted: text += " <lock_completed"
            case .userCompleted: text += " <lock_completed (user's \(message.flushed ? "flush" : "sync"))"
            }
            rest >>= 8
        }
        return text
    }
}
