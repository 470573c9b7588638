// What is searched, and how many worlds there are: the numbers are committed.
//
// One page in all of them. Not bounded anywhere: the number of requests, writes, evictions, messages, deaths and
// returns of clients, steps. Bounded: the number of clients, users' lock requests that are under way at a time, and what callbacks
// may answer, as each line says.

@testable import Pager

struct Configuration {
    var name: String
    var bounds: Bounds
    /// Distinct worlds (up to the clients' numbers) and steps between them.
    var states: Int
    var transitions: Int
}

extension Configuration {
    /// What is searched always. The longest first: they are searched two at a time.
    static let usual: [Configuration] = both("2 clients, everything", everything(2), (9585639, 59913183), (9655374, 61718353))
        + both("3 clients, failures", failures(3), (4932645, 26000672), (2033703, 11549811))
        + both("3 clients, deaths", deaths(3), (584986, 3921710), (907235, 6500343))
        + both("3 clients, a user's call", calls(3, 1), (1245227, 6829495), (3652015, 21681310))
        + both("2 clients, a user's call to each", calls(2, 2), (248447, 1253703), (550721, 2782753))
        + both("2 clients, deaths and failures, pages are offered", offers(deathsAndFailures(2)), (1201908, 6520418),
               (913388, 5052986))
        + both("1 client, everything, pages are offered", offers(everything(1)), (83264, 371056), (100305, 414264))
        + both("2 clients, failures, threads overtake", overtaking(failures(2)), (2350438, 11597500), (1743935, 9147712))
        + both("1 client, failures, threads overtake, pages are offered", offers(overtaking(failures(1))), (77767, 222692), (117674, 325829))
        + both("1 client, everything, threads overtake", overtaking(everything(1)), (154930, 842541), (156905, 840276))
        + both("1 client, everything", everything(1), (24437, 119632), (24045, 115577))

    /// With PROTOCOL_TESTS_DEEP=1 as well (README.md says how long that takes).
    static let deep: [Configuration] = both("3 clients, deaths and a user's call", deathsAndCalls(3), (12876583, 92529052),
                                            (37033646, 280494275))
        + both("2 clients, deaths and failures, threads overtake", overtaking(deathsAndFailures(2)), (5477770, 36873397), (4408001, 30648693))
        + both("2 clients, deaths and a user's call, pages are offered", offers(deathsAndCalls(2)), (1916835, 10471635), (3743579, 20665461))

    private static func both(_ name: String, _ bounds: Bounds, _ plain: (Int, Int), _ notices: (Int, Int)) -> [Configuration] {
        var notifying = bounds
        notifying.notify = true
        return [Configuration(name: name, bounds: bounds, states: plain.0, transitions: plain.1),
                Configuration(name: name + ", eviction notices", bounds: notifying, states: notices.0, transitions: notices.1)]
    }

    /// Every callback may fail, writes also with a code that the page word cannot say; pages may be write-locked; clients come, terminate,
    /// die and come again; one user's lock request at a time.
    private static func everything(_ clients: Int) -> Bounds {
        var bounds = failures(clients)
        bounds.writeFailures.append(Failure.odd)
        bounds.deaths = true
        bounds.userCalls = 1
        return bounds
    }

    /// As `everything` without odd codes, users and deaths.
    private static func failures(_ clients: Int) -> Bounds {
        var bounds = Bounds(clients: clients)
        bounds.readFailures = [Errno.io]
        bounds.writeFailures = [Errno.io]
        bounds.unlockFailures = [Errno.io]
        bounds.writeLocks = true
        return bounds
    }

    /// Callbacks succeed and nothing is write-locked, but clients come and go.
    private static func deaths(_ clients: Int) -> Bounds {
        var bounds = Bounds(clients: clients)
        bounds.deaths = true
        return bounds
    }

    /// Callbacks succeed, nothing is write-locked, nobody dies, but so many users' lock requests are under way.
    private static func calls(_ clients: Int, _ calls: Int) -> Bounds {
        var bounds = Bounds(clients: clients)
        bounds.userCalls = calls
        return bounds
    }

    private static func deathsAndFailures(_ clients: Int) -> Bounds {
        var bounds = failures(clients)
        bounds.deaths = true
        return bounds
    }

    /// Also `pager_offer_page`, at any moment at which it is heeded.
    private static func offers(_ other: Bounds) -> Bounds {
        var bounds = other
        bounds.offers = true
        return bounds
    }

    /// Also a request, or an unlock, that is sent by a thread that others of the kernel overtake.
    private static func overtaking(_ other: Bounds) -> Bounds {
        var bounds = other
        bounds.overtaking = true
        return bounds
    }

    private static func deathsAndCalls(_ clients: Int) -> Bounds {
        var bounds = calls(clients, 1)
        bounds.deaths = true
        return bounds
    }
}
