// What can happen next: every step that is possible in a world, within the bounds.
//
// *Quiet* steps are those in which kernels and the user want nothing new: answers, reports, messages under way.

@testable import Pager

/// What a run of the search lets happen. All else is unbounded.
struct Bounds {
    var clients: Int
    /// `notify_on_evict`.
    var notify = false
    /// What callbacks may answer beside success.
    var readFailures: [Int32] = []
    var writeFailures: [Int32] = []
    var unlockFailures: [Int32] = []
    /// `pager_read_page` may ask for a write lock.
    var writeLocks = false
    /// Users' lock requests that are not completed, at most; one for each client.
    var userCalls = 0
    var userKinds: [UserCall] = [.sync, .giveBack, .flush]
    /// Clients may come and go at any time; else all are there from the start and stay.
    var deaths = false
    /// `pager_offer_page`.
    var offers = false
    /// Kernels page dirty pages out, and drop clean ones, unasked.
    var evictions = true
    /// Returned pages may be written by the thread that got them.
    var direct = true
    /// A kernel's threads overtake each other: one request and one unlock of a kernel may be late.
    var overtaking = false
}

enum Step: Equatable {
    case attach(Int)
    case touch(Int, write: Bool)
    case askToWrite(Int)
    case write(Int)
    case drop(Int)
    case pageOut(Int)
    case call(UserCall, Int)
    case offer(Int, lock: Bool)
    case die(Int, heard: Bool)
    // Quiet.
    case sendRequest(Int)
    case sendUnlock(Int)
    case deliver(Int, direct: Bool)
    case sendAnswer(Int)
    case sendLock(Int)
    case sent
    case readDone(Int32, lock: Bool)
    case writeDone(Int32)
    case unlockDone(Int32)
    case notified
    case startWrite
    case endWrite(Int32)

    /// Without the client.
    var kind: Substring { "\(self)".prefix { $0 != "(" } }

    var isQuiet: Bool {
        switch self {
        case .attach, .touch, .askToWrite, .write, .drop, .pageOut, .call, .offer, .die: return false
        default: return true
        }
    }
}

extension Machine {
    /// Calls `visit` with each possible step and the world after it; `problem` says what was wrong with the step.
    @inline(__always)
    func forEachStep(_ world: World, _ visit: (Step, inout World) -> Void) {
        func take(_ step: Step) {
            var next = world
            problem = nil
            mayLose = false
            perform(step, &next)
            visit(step, &next)
        }
        quietSteps(world, take)
        for client in 0..<bounds.clients { kernelSteps(world, client, take) }
        if bounds.userCalls > 0 {
            var outstanding = 0
            for client in 0..<bounds.clients where world.kernels[client].channelContains(.userCompleted) { outstanding += 1 }
            if outstanding < bounds.userCalls {
                for client in 0..<bounds.clients where world.kernels[client].life == .attached
                    && !world.kernels[client].channelContains(.userCompleted) {
                    for call in bounds.userKinds { take(.call(call, client)) }
                }
            }
        }
    }

    private func kernelSteps(_ world: World, _ client: Int, _ take: (Step) -> Void) {
        let kernel = world.kernels[client]
        switch kernel.life {
        case .dying: return
        case .away:
            // A client's number is free when nothing is being sent to it any more.
            if bounds.deaths && !world.owner.isOffer && world.owner.recipients >> client & 1 == 0 { take(.attach(client)) }
            return
        case .attached: break
        }
        switch kernel.page {
        case .absent:
            take(.touch(client, write: false))
            take(.touch(client, write: true))
        case .waitsToRead, .waitsToWrite: break
        case .present:
            if kernel.locked && !kernel.unlocking { take(.askToWrite(client)) }
            // Writing what is the newest and dirty once more changes nothing.
            if !kernel.locked && !(kernel.dirty && isNewestAlone(world, client)) { take(.write(client)) }
            if bounds.evictions {
                if kernel.dirty || kernel.precious { take(.pageOut(client)) } else { take(.drop(client)) }
            }
        }
        if bounds.offers && mayOffer(world, client) {
            // (`Offers.swift`: for writing unless there is a write lock.)
            take(.offer(client, lock: false))
            if bounds.writeLocks { take(.offer(client, lock: true)) }
        }
        if bounds.deaths {
            take(.die(client, heard: true))
            if kernel.channel != 0 { take(.die(client, heard: false)) }
        }
    }

    /// No other place has the version that this kernel's page has.
    private func isNewestAlone(_ world: World, _ client: Int) -> Bool {
        var others = world
        others.kernels[client].page = .absent
        return others.usedVersions & (1 << world.kernels[client].version) == 0
    }

    private func quietSteps(_ world: World, _ take: (Step) -> Void) {
        for client in 0..<bounds.clients {
            let kernel = world.kernels[client]
            let message = Message(raw: UInt8(truncatingIfNeeded: kernel.channel))
            let isExcluded = world.owner.isOffer && kernel.channel != 0 && message.kind == .request
            if (kernel.channel != 0 || kernel.life == .dying) && !isExcluded {
                take(.deliver(client, direct: false))
                if bounds.direct && kernel.channel != 0 && message.kind == .returned && mayWriteDirectly(world) {
                    take(.deliver(client, direct: true))
                }
            }
            if kernel.lateRequest != .none { take(.sendRequest(client)) }
            if kernel.lateUnlock { take(.sendUnlock(client)) }
            if kernel.unsent != .none { take(.sendLock(client)) }
            if world.owner.unsent >> client & 1 != 0 { take(.sendAnswer(client)) }
        }
        switch world.owner.work {
        case .none: break
        case .read:
            take(.readDone(0, lock: false))
            if bounds.writeLocks { take(.readDone(0, lock: true)) }
            for code in bounds.readFailures { take(.readDone(code, lock: false)) }
        case .write:
            take(.writeDone(0))
            for code in bounds.writeFailures { take(.writeDone(code)) }
        case .unlock, .unlockBeforeSupply:
            take(.unlockDone(0))
            for code in bounds.unlockFailures { take(.unlockDone(code)) }
        case .notify: take(.notified)
        case .supply, .error, .grant:
            if world.owner.unsent == 0 { take(.sent) }
        }
        if canStartWrite(world) { take(.startWrite) }
        if world.writeBack.isWriting {
            take(.endWrite(0))
            for code in bounds.writeFailures { take(.endWrite(code)) }
        }
    }

    private func perform(_ step: Step, _ world: inout World) {
        switch step {
        case .attach(let client): world.kernels[client].life = .attached
        case .touch(let client, let write):
            world.kernels[client].touch(write: write, late: bounds.overtaking && world.kernels[client].lateRequest == .none)
        case .askToWrite(let client):
            world.kernels[client].askToWrite(late: bounds.overtaking && !world.kernels[client].lateUnlock)
        case .sendRequest(let client): world.kernels[client].sendRequest()
        case .sendUnlock(let client): world.kernels[client].sendUnlock()
        case .write(let client):
            world.kernels[client].version = world.newest + 1
            world.kernels[client].dirty = true
        case .drop(let client): world.kernels[client].forgetPage()
        case .pageOut(let client): world.kernels[client].pageOut()
        case .call(let call, let client):
            mayLose = call == .flush
            world.kernels[client].obey(call)
        case .offer(let client, let lock):
            apply(&world, .offered(ClientNumber(client), write: !lock, writeLock: lock), data: world.disk)
            world.owner.isOffer = true
        case .die(let client, let heard):
            mayLose = true
            world.kernels[client].die(heard: heard)
        case .deliver(let client, let direct): deliver(&world, from: client, direct: direct)
        case .sendAnswer(let client): sendAnswer(&world, to: client)
        case .sendLock(let client): sendLock(&world, to: client)
        case .sent: report(&world, .sent)
        case .readDone(let code, let lock): report(&world, .readDone(code: code, writeLock: lock))
        case .writeDone(let code): report(&world, .writeDone(code: code))
        case .unlockDone(let code):
            report(&world, .unlockDone(code: code, hasData: world.owner.work == .unlockBeforeSupply))
        case .notified: report(&world, .notified)
        case .startWrite: world.writeBack.newest = .writing
        case .endWrite(let code): endWrite(&world, code)
        }
    }
}
