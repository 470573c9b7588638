// The service around the rules, abstractly: who calls what when. This is the contract that Sources/Pager/Service keeps.
//
// Modelled:
//   - A page has at most one owner's action at a time; its report comes at any later time, with any result.
//   - The messages of one effect are separate steps, and the report `.sent` another: what clients do in between comes first.
//     Lock requests, too, are separate steps, and nobody owns the page meanwhile.
//   - The write-back has one newest version; an older one may still be in the middle of being written. Writes of a
//     page, direct ones among them, never overlap.
//   - A version that was kept though it is written is reported again as soon as the page is idle.
//   - A user's lock request that flushes ends in `.released`, unless data was sent to the client since it was
//     issued. That is noted after sending and before `.sent`.
//   - `supplyHeld` sends the version that was the newest when the rules decided it.
//   - What was read is there with `.readDone`, and, if an unlock is wanted then, with that one's report as well.

@testable import Pager

final class Machine {
    let bounds: Bounds
    let table: StepTable
    /// What the step being made did wrong, the first thing only.
    var problem: String?
    /// The step may lose data: the client died, or the user said so.
    var mayLose = false

    init(_ bounds: Bounds) {
        self.bounds = bounds
        table = StepTable(bounds)
    }

    func object(_ text: @autoclosure () -> String) {
        if problem == nil { problem = text() }
    }

    func state(_ world: World) -> ModelState { table.pages[world.page] }

    // Applying the rules.

    /// `data`: the version that came with the event.
    func apply(_ world: inout World, _ event: Event, direct: Bool = false, hadHolders: Bool = false, data: UInt8 = 0) {
        // (As if pages had been offered before: of another page nothing more is known.)
        var isOffered = false
        if case .request = event { isOffered = bounds.offers }
        let context = Context(sole: world.registered == 1, notify: bounds.notify, direct: direct, hadHolders: hadHolders, isOffered: isOffered)
        let answer = table.step(world.page, event, context)
        if answer.problem != 0 { object(table.problems[answer.problem]) }
        world.page = answer.page
        perform(&world, event, answer, data)

        if world.writeBack.newest == .keptWritten {
            let state = state(world)
            if state.activity == .idle && state.isHeld && !state.isInvalid { apply(&world, .writtenBack(code: 0)) }
        }
    }

    private func perform(_ world: inout World, _ event: Event, _ answer: Answer, _ data: UInt8) {
        let effects = answer.effects
        if effects.data == .store {
            if world.writeBack.newest == .writing {
                if world.writeBack.olderIsWriting { object("write: three versions at once") }
                world.writeBack.olderIsWriting = true
                world.writeBack.olderVersion = world.writeBack.version
            }
            world.writeBack.newest = .queued
            world.writeBack.version = data
        }
        let held = world.writeBack.version
        if effects.action == .supplyHeld && world.writeBack.newest == .none { object("held: there is no version to send") }
        perform(&world, event, effects.held)

        switch effects.action {
        case .none: break
        case .read: begin(&world, .read, effects)
        case .write: begin(&world, .write, effects, version: data)
        case .unlock:
            let keeps = Machine.bringsData(event) && effects.data == .used
            begin(&world, keeps ? .unlockBeforeSupply : .unlock, effects, version: keeps ? data : 0)
        case .notify: begin(&world, .notify, effects)
        case .supply:
            if !Machine.bringsData(event) { object("supply: there are no data at hand") }
            begin(&world, .supply, effects, answer.recipients, version: data)
        case .supplyHeld: begin(&world, .supply, effects, answer.recipients, version: held)
        case .error: begin(&world, .error, effects, answer.recipients)
        case .grantWrite: begin(&world, .grant, effects, answer.recipients)
        case .downgrade: ask(&world, .downgrade)
        case .flush: ask(&world, effects.returnAll ? .flushReturningAll : .flush)
        }
        if effects.action == .notify {
            if !world.owesNotice { object("notice: nobody had the page since the last") }
            if world.writeBack.newest != .none || world.writeBack.isWriting { object("notice: before the page is written") }
            world.owesNotice = false
        }
    }

    /// The owner has the page's data when it reports this.
    private static func bringsData(_ event: Event) -> Bool {
        switch event {
        case .readDone(0, _), .writeDone, .unlockDone(_, true), .offered: return true
        default: return false
        }
    }

    private func perform(_ world: inout World, _ event: Event, _ held: HeldFate) {
        switch held {
        case .unchanged:
            // A version that was written is finished one way or the other.
            if case .writtenBack = event { object("held: a written version is neither dropped nor kept") }
        case .keep:
            guard case .writtenBack(let code) = event else { return object("held: kept, but not just written") }
            world.writeBack.newest = code == 0 ? .keptWritten : .keptFailed
        case .drop:
            switch world.writeBack.newest {
            case .none: object("held: nothing to drop")
            case .queued, .writing: object("held: dropped before it is written")
            case .keptWritten, .keptFailed: break
            }
            world.writeBack.newest = .none
            world.writeBack.version = 0
        }
    }

    private func begin(_ world: inout World, _ work: Owner.Work, _ effects: Effects, _ recipients: UInt8 = 0,
                       version: UInt8 = 0) {
        if world.owner.work != .none { object("owner: \(work) while \(world.owner.work) is not done") }
        // From the translator's side the page is out, whatever becomes of the client.
        if work == .supply {
            world.owesNotice = bounds.notify
            if world.newestFailed && version == world.newest && !world.isSafe(version) && !effects.precious {
                object("lost: a version that could not be written is given away as not precious")
            }
        }
        world.owner = Owner(work: work, hadHolders: effects.holders, recipients: recipients, unsent: recipients,
                            write: effects.write, precious: effects.precious, version: version)
    }

    private func ask(_ world: inout World, _ request: Kernel.Unsent) {
        let state = state(world)
        for client in 0..<World.maximumClients {
            let access = state.access(of: ClientNumber(client))
            if access != .write && (request == .downgrade || access != .revoking) { continue }
            if world.kernels[client].unsent != .none { object("lock: client \(client) is asked twice") }
            world.kernels[client].unsent = request
        }
    }

    // The owner.

    /// The messages are sent, or the callback returned.
    func report(_ world: inout World, _ event: Event) {
        let owner = world.owner
        world.owner = Owner()
        if owner.work == .supply {
            for client in 0..<World.maximumClients where owner.recipients >> client & 1 != 0 {
                if world.kernels[client].channelContains(.userCompleted) { world.kernels[client].granted = true }
            }
        }
        var data = owner.version
        switch event {
        case .readDone: data = world.disk
        case .writeDone(let code):
            if code == 0 { write(&world, owner.version) } else { fail(&world, owner.version) }
        default: break
        }
        apply(&world, event, hadHolders: owner.hadHolders, data: data)
    }

    func sendAnswer(_ world: inout World, to client: Int) {
        let owner = world.owner
        world.owner.unsent &= ~(1 << client)
        var fault: String?
        switch owner.work {
        case .supply:
            fault = world.kernels[client].supply(version: owner.version, write: owner.write, precious: owner.precious,
                                                 unasked: bounds.offers)
        case .error: fault = world.kernels[client].fail(unasked: bounds.offers)
        case .grant: world.kernels[client].permitWriting()
        default: break
        }
        if let fault { object(fault) }
    }

    func sendLock(_ world: inout World, to client: Int) {
        let request = world.kernels[client].unsent
        world.kernels[client].unsent = .none
        let kernel = world.kernels[client]
        world.kernels[client].obey(request)
        let isHeld = world.writeBack.newest != .none && world.writeBack.version == kernel.version
        if request == .flush && kernel.isPresent && kernel.precious && world.newestFailed && !isHeld {
            object("lost: the only copy of a version that could not be written is not asked back")
        }
    }

    // The store.

    private func write(_ world: inout World, _ version: UInt8) {
        if version < world.disk { object("write: an older version overwrites a newer one") }
        world.disk = version
    }

    private func fail(_ world: inout World, _ version: UInt8) {
        // If it is nowhere any more, all others are older.
        if version >= world.newest { world.newestFailed = true }
    }

    func canStartWrite(_ world: World) -> Bool {
        world.writeBack.newest == .queued && !world.writeBack.olderIsWriting && world.owner.work != .write
    }

    func endWrite(_ world: inout World, _ code: Int32) {
        let isOlder = world.writeBack.olderIsWriting
        let version = isOlder ? world.writeBack.olderVersion : world.writeBack.version
        if code == 0 { write(&world, version) } else { fail(&world, version) }
        if isOlder {
            world.writeBack.olderIsWriting = false
            world.writeBack.olderVersion = 0
        } else {
            world.writeBack.newest = .keptFailed
            apply(&world, .writtenBack(code: code))
        }
    }

    // Messages of clients.

    /// The oldest message of the client, or the news that it is gone.
    func deliver(_ world: inout World, from client: Int, direct: Bool) {
        let number = ClientNumber(client)
        if world.kernels[client].channel == 0 {
            world.kernels[client] = Kernel()
            return apply(&world, .clientGone(number))
        }
        let message = Message(raw: UInt8(truncatingIfNeeded: world.kernels[client].channel))
        world.kernels[client].channel >>= 8
        switch message.kind {
        case .request: apply(&world, .request(number, write: message.write))
        case .unlock: apply(&world, .unlock(number))
        case .returned:
            apply(&world, .returned(number, dirty: message.dirty, keepsCopy: message.keepsCopy), direct: direct,
                  data: message.version)
        case .lockCompleted: apply(&world, .lockCompleted(number))
        case .userCompleted:
            let granted = world.kernels[client].granted
            world.kernels[client].granted = false
            if message.flushed && !granted { apply(&world, .released(number)) }
        }
    }

    func mayWriteDirectly(_ world: World) -> Bool { world.owner.work == .none && !world.writeBack.isWriting }
}
