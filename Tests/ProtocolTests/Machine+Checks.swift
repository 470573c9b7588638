// Checks of a world as a whole, after each step.
//
//   single writer   no kernel has the page while another may write to it
//   stale           every page that a kernel has is the newest version of all
//   lost            the newest version is on the disk or on its way there, unless it was legally lost: its holder
//                   died, the user flushed it, its write failed
//   access          what a kernel has is in the page's access set
//   owner           the page's activity and the owner's work agree; the page is held exactly if there is a version
//   notice          nobody has the page while its eviction is told
//   rest            when no quiet step is left: nobody waits, nothing is held or under way, the eviction of a page that
//                   nobody has was told, the disk has what was written last; with eviction notices the access set is
//                   exactly who has the page
//
// ("answer", "write", "held", "lock" and the rest of "notice" are checked where they happen, in Machine.swift; "queue",
// "error", "refused" and P1-P4 in StepTable+Checks.swift.)

@testable import Pager

extension Machine {
    /// `newest`: the newest version as of before the step, or the one that the step wrote.
    func judge(_ world: inout World, newest: UInt8) {
        judgeNewest(&world, newest)
        judgeKernels(world)
        judgeOwner(world)
    }

    private func judgeNewest(_ world: inout World, _ newest: UInt8) {
        let exists = world.usedVersions & (1 << newest) != 0
        if exists && world.isSafe(newest) {
            world.newestFailed = false
            return
        }
        if !mayLose && !world.newestFailed { return object("lost: the newest version") }
        // What is the newest now may be an older one that had failed.
        world.newestFailed = exists || !world.isSafe(world.newest)
    }

    private func judgeKernels(_ world: World) {
        let state = state(world)
        let newest = world.newest
        var present = 0, writers = 0
        for client in 0..<bounds.clients {
            let kernel = world.kernels[client]
            if !kernel.isPresent { continue }
            present += 1
            if kernel.canWrite { writers += 1 }
            if kernel.version != newest { object("stale: kernel \(client) has an old version") }
            let access = state.access(of: ClientNumber(client))
            if access == .none { object("access: kernel \(client) has the page, but is not in the access set") }
            if kernel.canWrite && access != .write { object("access: kernel \(client) can write, but is recorded with \(access)") }
        }
        if writers > 0 && present > 1 { object("single writer: a kernel has what another can write to") }
        if world.owner.work == .notify && present > 0 { object("notice: while a kernel has the page") }
    }

    private func judgeOwner(_ world: World) {
        let state = state(world)
        let agrees: Bool
        switch state.activity {
        case .idle, .downgrading, .flushing: agrees = world.owner.work == .none
        case .pagingIn: agrees = world.owner.work == .read || world.owner.work == .supply
        case .pagingOut: agrees = world.owner.work == .write
        case .unlocking: agrees = world.owner.work == .unlock || world.owner.work == .unlockBeforeSupply
        case .sending: agrees = world.owner.sends
        case .notifying: agrees = world.owner.work == .notify
        }
        if !agrees { object("owner: \(world.owner.work) while the page is \(state.activity)") }
        if state.isHeld != (world.writeBack.newest != .none) { object("held: the page and the write-back disagree") }
        if world.owner.work == .read && (world.writeBack.newest != .none || world.writeBack.isWriting) {
            object("read: while a newer version is in memory")
        }
        if world.owner.work == .unlockBeforeSupply && world.owner.version != world.newest { object("read: what is at hand is not the newest") }
        if world.owner.work == .write && world.writeBack.isWriting { object("write: two at once") }
    }

    /// The service offers a page only to a client that is alone; the rest the rules say. (A refused offer is no step.)
    func mayOffer(_ world: World, _ client: Int) -> Bool {
        if world.registered != 1 || world.owner.work != .none { return false }
        var state = state(world)
        let effects = PageProtocol.step(&state, .offered(ClientNumber(client), write: true, writeLock: false), Context(sole: true))
        return effects.refusal == .none
    }

    /// No quiet step is left.
    func judgeRest(_ world: World) {
        let state = state(world)
        if state.activity != .idle { object("rest: the page stays \(state.activity)") }
        if !state.isQueueEmpty { object("rest: somebody waits in the queue") }
        for client in 0..<bounds.clients {
            if world.kernels[client].waits { object("rest: kernel \(client) waits for the page") }
            if world.kernels[client].unlocking { object("rest: kernel \(client) waits for an unlock") }
            // Precious pages do not vanish silently. (A user's flush that crosses a supply may leave an entry too many.)
            let isRecorded = state.access(of: ClientNumber(client)) != .none
            if bounds.notify && bounds.userCalls == 0 && isRecorded && !world.kernels[client].isPresent {
                object("rest: kernel \(client) is in the access set, but does not have the page")
            }
        }
        if world.writeBack.newest != .none || world.writeBack.isWriting { object("rest: a version is held") }
        if state.isAccessEmpty && world.owesNotice { object("rest: an eviction was not told") }
        var dirty = false
        for client in 0..<bounds.clients where world.kernels[client].dirty { dirty = true }
        if !dirty && !state.isInvalid && world.disk != world.newest { object("rest: the disk has not the newest version") }
    }
}
