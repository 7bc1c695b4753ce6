// The live page: asks once a second how the cluster is, and draws it. Shows what is there when some members are not.
const EVERY = 1000, LOST_AFTER = 4000, ROOM = 180, SPARK = 60, WINDOW = 60;
const STAGES = ["queue", "wal", "network", "quorum", "apply", "total"];
const kinds = { leader_elected: "lead", leader_lost: "bad", failed: "bad", transfer_begun: "warn", transfer_given_up: "warn", members_changed: "ok", started: "ok", peer_connected: "ok", closing: "warn" };
let cluster = null, seenAt = 0, problem = "", events = [], lastEvent = 0, ownLife = null;
const history = new Map(); // by member: [{time, applied, life, sync...}], the newest last
const commits = []; // {time, commit}: the highest commit index that anybody told
const stagesSeen = []; // {time, id, life, counts by stage}

// --- asking ------------------------------------------------------------------------------------

const stored = { get: name => { try { return sessionStorage.getItem(name); } catch { return null; } }, set: (name, value) => { try { sessionStorage.setItem(name, value); } catch { /* not kept */ } } };
async function ask(path) {
  const token = stored.get("raftx-token"), headers = token ? { authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(8000) });
  if (answer.status === 403) { at("ask").hidden = false; throw new Error("the token is missing, or is not the right one"); }
  if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
  return answer.json();
}
async function look() {
  try {
    const [found, more] = await Promise.all([ask("cluster?timeout=0.6"), ask(`events?after=${lastEvent}`)]);
    at("ask").hidden = true;
    cluster = found; seenAt = Date.now(); problem = "";
    // A member that was started again counts from 1: what it says is asked for anew.
    const own = found.members.find(each => each.id === found.id), life = own && own.status ? own.status.life : ownLife;
    if (ownLife !== null && life !== ownLife) { events = []; lastEvent = 0; } else events = events.concat(more).slice(-60);
    ownLife = life;
    if (events.length) lastEvent = events[events.length - 1].n;
    remember();
    draw();
  } catch (error) {
    problem = error.name === "TimeoutError" ? "no answer" : error instanceof TypeError ? "not reached" : error.message;
  }
  tellSeen();
  setTimeout(look, EVERY);
}
function tellSeen() {
  const age = Date.now() - seenAt, lost = problem !== "" && (age > LOST_AFTER || !seenAt);
  document.body.classList.toggle("lost", lost && seenAt > 0);
  document.querySelector("#seen .dot").className = `dot ${lost ? "bad" : seenAt ? "ok" : ""}`;
  at("seen-text").textContent = !seenAt ? problem || "connecting" : lost ? `Connection lost: ${problem}; last seen ${ago(age / 1000)} ago` : "Live";
}
function remember() {
  const now = Date.now() / 1000;
  let most = 0;
  for (const member of cluster.members) {
    if (!member.status) continue;
    const st = member.status, kept = history.get(member.id) || [];
    if (kept.length && kept[kept.length - 1].life !== st.life) kept.length = 0;
    kept.push({ time: now, life: st.life, applied: st.applied, written: st.disk.wal_bytes, syncs: st.disk.syncs, sync_ns: st.disk.sync_ns });
    if (kept.length > ROOM + 1) kept.shift();
    history.set(member.id, kept);
    most = Math.max(most, st.commit);
    if (st.role === "leader") {
      stagesSeen.push({ time: now, id: member.id, life: st.life, counts: STAGES.map(stage => st.latency[stage].counts) });
      while (stagesSeen.length && (stagesSeen[0].time < now - WINDOW || stagesSeen[0].id !== member.id || stagesSeen[0].life !== st.life)) stagesSeen.shift();
    }
  }
  if (most) commits.push({ time: now, commit: Math.max(most, commits.length ? commits[commits.length - 1].commit : 0) });
  if (commits.length > ROOM + 1) commits.shift();
}
const rates = (list, field) => list.slice(1).map((each, i) => Math.max(0, each[field] - list[i][field]) / Math.max(.2, each.time - list[i].time));
function recent(list, field, span = 5) {
  const last = list[list.length - 1], first = list.find(each => each.time >= last?.time - span - .5);
  return first && last.time > first.time ? Math.max(0, last[field] - first[field]) / (last.time - first.time) : 0;
}

// --- what it means -----------------------------------------------------------------------------

function judge() {
  const members = cluster.members, voters = members.filter(each => each.voter), there = voters.filter(each => each.reachable && each.status.state === "running");
  const leader = members.find(each => each.id === cluster.leader) || members.find(each => each.role === "leader");
  const away = members.filter(each => !each.reachable), notices = [];
  const need = Math.floor(voters.length / 2) + 1, spare = there.length - need;
  for (const each of away.filter(each => each.error.startsWith("its answer"))) notices.push(["warn", `Member ${each.id}: ${each.error}`]);
  for (const { id, status } of members.filter(each => each.status)) {
    const say = (kind, text) => notices.push([kind, `Member ${id}: ${text}`]);
    if (status.failure) say("bad", `it has ended: ${status.failure}`);
    else if (status.state !== "running") say("warn", `it is ${status.state}`);
    if (status.diverged) say("bad", status.diverged);
    if (status.in_doubt) say("warn", "it may have forgotten what it promised, and does not vote yet");
    if (status.waits_for.length) say("warn", `it takes part once these have answered: ${status.waits_for.join(", ")}`);
    if (status.disk.full) say("bad", "its disk has no room for the next segment of the log");
    else if (status.disk.shortage) say("warn", `it is short of something: ${status.disk.shortage}`);
    if (status.apply_lag > 1) say("warn", `its state machine is ${seconds(status.apply_lag).join(" ")} behind`);
    if (status.snapshots_not_taken) say("warn", "it needs a snapshot that its storage cannot take");
    for (const said of Object.values(status.disagreements).flat()) say("warn", said);
  }
  let kind = "ok", headline = "All is well", sub = leader ? `Member ${leader.id} leads in term ${number(cluster.term)}.` : "";
  if (!cluster.leader) { kind = "bad"; headline = "No leader"; sub = there.length < need ? `${words(there.length, "voter answers", "voters answer")}, and ${need} of ${voters.length} are needed.` : "An election is under way, or cannot end."; }
  else if (there.length < need) { kind = "bad"; headline = "No majority"; sub += ` ${there.length} of ${voters.length} voters answer, and ${need} are needed.`; }
  else if (away.length) { kind = "warn"; headline = away.length === 1 ? `Member ${away[0].id} does not answer` : `${away.length} members do not answer`; sub += spare ? ` It goes on if ${words(spare, "more voter fails", "more voters fail")}.` : " It stops if another voter fails."; }
  else if (notices.some(each => each[0] === "bad")) { kind = "bad"; headline = "Something is wrong"; }
  else if (notices.length) { kind = "warn"; headline = "Working, with remarks"; }
  else if (voters.length > 1) sub += ` ${spare ? `It goes on if ${words(spare, "voter fails", "voters fail")}.` : "It stops if one voter fails."}`;
  return { kind, headline, sub, notices, leader, there, voters, spare };
}

// --- drawing -----------------------------------------------------------------------------------

function draw() {
  const found = judge();
  const set = (id, text) => { if (at(id).textContent !== text) at(id).textContent = text; };
  document.title = (found.kind === "ok" ? "" : "● ") + `${cluster.cluster} · ${found.headline}`;
  set("cluster", cluster.cluster);
  set("headline", found.headline);
  at("headline").className = found.kind;
  set("subline", found.sub);
  at("notices").replaceChildren(...found.notices.slice(0, 12).map(([kind, text]) => h("li", { class: kind }, dot(kind), h("span", {}, text))));
  drawFigures(found);
  drawMembers(found);
  drawRate();
  drawLatency(found);
  drawDisk();
  drawLinks();
  drawEvents();
  const own = cluster.members.find(each => each.id === cluster.id);
  set("told", `As member ${cluster.id} tells it${own && own.status ? `, raftx ${own.status.version}, up for ${ago(own.status.uptime)}` : ""}`);
}
function drawFigures(found) {
  const commit = commits.length ? commits[commits.length - 1].commit : 0, newest = latest(found.leader);
  const total = newest && newest.counts[5], bounds = newest && newest.bounds;
  const half = total ? quantile(bounds, total, .5) : null, tail = total ? quantile(bounds, total, .99) : null;
  const lag = Math.max(0, ...cluster.members.map(each => lagOf(each)).filter(each => each !== null));
  const items = [
    ["Leader", cluster.leader ? `Member ${cluster.leader}` : "none", null],
    ["Term", number(cluster.term), null],
    ["Committed", number(commit), null],
    ["Commits", rate(recent(commits, "commit")), "/ s"],
    ["Proposal, median", ...(half === null ? ["–", null] : [seconds(half)[0], `${seconds(half)[1]}, 99 % ${seconds(tail).join(" ")}`])],
    ["Voters there", `${found.there.length} of ${found.voters.length}`, lag ? `largest lag ${short(lag)}` : null],
  ];
  at("figures").replaceChildren(...items.map(([name, value, small]) => h("div", {}, h("dt", {}, name), h("dd", {}, value, small ? h("small", {}, small) : null))));
}
function lagOf(member) {
  if (!member.status) {
    const leader = cluster.members.find(each => each.role === "leader"), seen = leader && leader.status.peers.find(each => each.id === member.id);
    return seen && seen.lag !== null ? seen.lag : null;
  }
  const leader = cluster.members.find(each => each.role === "leader");
  if (!leader || leader.id === member.id) return leader ? 0 : null;
  const seen = leader.status.peers.find(each => each.id === member.id);
  return seen && seen.lag !== null ? seen.lag : Math.max(0, leader.status.last - member.status.last);
}
function drawMembers(found) {
  const most = Math.max(2000, recent(commits, "commit")); // a second's worth fills the bar
  const titles = [["Member", "left"], ["Role", "left"], ["Term"], ["Committed"], ["Applied"], ["Lag"], ["To apply"], ["Applied / s"], [""], ["Heard"]];
  const rows = cluster.members.map(member => {
    const st = member.status, lag = lagOf(member), away = !st;
    const role = away ? "away" : st.role, shown = { away: "no answer", none: st && st.state, pre_candidate: "candidate" }[role] || role;
    const kept = history.get(member.id) || [], points = rates(kept, "applied").slice(-SPARK);
    const head = h("th", { scope: "row", role: "rowheader" }, h("span", { class: "name" }, dot(away ? "bad" : role === "leader" ? "lead" : role === "none" ? "bad" : "ok"), `Member ${member.id}`, h("span", { class: "addr" }, member.url.replace(/^\w+:\/\//, ""))), h("span", { class: "visually" }));
    const tags = [h("span", { class: `tag ${role}` }, shown), member.learner ? h("span", { class: "tag" }, "learner") : null];
    const heard = member.seen_ms === null ? "never" : member.id === cluster.id ? "here" : member.seen_ms < 1000 ? "now" : `${ago(member.seen_ms / 1000)} ago`;
    const meter = h("span", { class: "meter", "aria-hidden": "true" }, h("i", { class: lag > 10000 ? "bad" : lag > 1000 ? "warn" : "" }));
    meter.firstChild.style.width = lag ? `${Math.min(100, Math.max(4, 100 * lag / most))}%` : "0";
    if (away) return row("away", head, cell("Role", "left", tags), h("td", { class: "why", colspan: 3, role: "cell" }, member.error), cell("Lag", "", lag === null ? "–" : h("span", { class: "lag" }, number(lag), meter)), cell("To apply", "drop", "–"), cell("Applied / s", "drop", "–"), h("td", { class: "drop", role: "cell" }, spark([0, 0], "")), cell("Heard", "", heard));
    return row("", head, cell("Role", "left", tags), cell("Term", st.term === cluster.term ? "" : "warn", number(st.term)), cell("Committed", "", number(st.commit)), cell("Applied", "", number(st.applied)),
      cell("Lag", "", lag === null ? "–" : h("span", { class: "lag" }, number(lag), meter)), cell("To apply", st.apply_lag > 1 ? "warn" : "", st.behind ? number(st.behind) : "0"),
      cell("Applied / s", "", rate(recent(kept, "applied"))), h("td", { class: "wide drop", role: "cell" }, spark(points, `Applied entries a second of member ${member.id}, the last minute`)), cell("Heard", "soft", heard));
  });
  at("members-table").replaceChildren(table("Members", titles, rows, "cards"));
}
function drawRate() {
  const points = rates(commits, "commit");
  const now = Date.now() / 1000, marks = events.filter(each => each.event === "leader_elected").map(each => now - each.time);
  at("rate-now").textContent = points.length ? `entries a second; up to ${short(Math.max(0, ...points))}` : "entries a second";
  at("rate-chart").replaceChildren(chart(at("rate-chart").clientWidth, points, Math.min(ROOM, Math.max(60, 30 * Math.ceil(points.length / 30))), marks, `Commits a second, the last minutes; now ${rate(recent(commits, "commit"))}`));
}
// Of the leader, what the last minute has added, or, if that is nothing, all since its start.
function latest(leader) {
  const st = leader && leader.status;
  if (!st || !st.latency || !st.latency.total.counts.length) return null;
  const all = STAGES.map(stage => st.latency[stage].counts), first = stagesSeen[0];
  const more = first && first.id === leader.id && stagesSeen.length > 1 ? all.map((counts, i) => counts.map((each, b) => each - (first.counts[i][b] || 0))) : null;
  const some = more && more[5].some(each => each > 0);
  return { bounds: st.latency.bounds, counts: some ? more : all, of: some ? "the last minute" : "since it leads" };
}
function drawLatency(found) {
  const newest = latest(found.leader);
  if (!newest || !newest.counts.some(counts => counts.some(each => each))) {
    at("latency-of").textContent = "";
    at("latency-chart").replaceChildren(h("p", { class: "empty" }, found.leader ? "The leader has taken no proposal yet." : "There is no leader to ask."));
    return;
  }
  const used = newest.counts.flatMap(counts => counts.map((each, b) => each ? b : -1)).filter(b => b >= 0);
  const first = Math.max(0, Math.min(...used)), last = Math.min(newest.bounds.length, Math.max(...used, first + 7));
  at("latency-of").textContent = `of member ${found.leader.id}, ${newest.of}`;
  at("latency-chart").replaceChildren(stages(at("latency-chart").clientWidth, newest.bounds, STAGES.map((name, i) => [name, newest.counts[i]]), first, last));
}
function drawDisk() {
  const titles = [["Member", "left"], ["Written / s"], ["Sync"], ["Used"], ["Free"], ["Waiting"], ["In memory"]];
  const rows = cluster.members.map(({ id, status: st }) => {
    const head = h("th", { scope: "row", role: "rowheader" }, `Member ${id}`);
    if (!st) return row("away", head, ...titles.slice(1).map(([title]) => cell(title, title === "Used" || title === "Free" ? "" : "", "–")));
    const kept = history.get(id) || [], syncs = recent(kept, "syncs", 10), spent = recent(kept, "sync_ns", 10);
    const mean = syncs ? spent / syncs / 1e9 : st.disk.syncs ? st.disk.sync_ns / st.disk.syncs / 1e9 : null;
    const waiting = st.queues.writes + st.queues.applies + st.queues.commands;
    return row("", head, cell("Written / s", "", unit(bytes(Math.round(recent(kept, "written"))))), cell("Sync", "", unit(seconds(mean))), cell("Used", "", unit(bytes(st.disk.used))),
      cell("Free", st.disk.full ? "bad" : st.disk.shortage ? "warn" : "", st.disk.full ? "full" : unit(bytes(st.disk.free))), cell("Waiting", "", st.queues.proposal_bytes ? unit(bytes(st.queues.proposal_bytes)) : number(waiting)), cell("In memory", "", unit(bytes(st.queues.log_bytes))));
  });
  at("disk-table").replaceChildren(table("Disk and queues", titles, rows, "cards"));
}
function drawLinks() {
  const members = cluster.members, titles = [["hears", "left"], ...members.map(each => [`${each.id}`])];
  const rows = members.map(member => h("tr", { role: "row" }, h("th", { scope: "row", role: "rowheader" }, `Member ${member.id}`), members.map(other => {
    if (other.id === member.id) return h("td", { class: "faint", role: "cell" }, "·");
    const seen = member.status && member.status.peers.find(each => each.id === other.id);
    if (!seen) return h("td", { class: "faint", role: "cell", "aria-label": "not known" }, "–");
    const age = seen.last_heard === null ? "never" : seen.last_heard < .95 ? "< 1 s" : ago(seen.last_heard);
    return h("td", { role: "cell", "aria-label": `${seen.connected ? "connected" : "not connected"}, heard ${age}` }, dot(seen.connected ? "ok" : "bad"), h("span", { class: "age" }, age));
  })));
  at("links-table").replaceChildren(table("Who hears whom: time since a frame came", titles, rows, "links"));
}
function drawEvents() {
  const now = Date.now() / 1000;
  at("events-of").textContent = `of member ${cluster.id}`;
  const items = events.slice(-16).reverse().map(each => {
    const when = new Date(each.time * 1000), about = [each.term ? `term ${number(each.term)}` : "", each.index ? `entry ${number(each.index)}` : ""].filter(Boolean).join(", ");
    return h("li", {}, h("time", { datetime: when.toISOString(), title: when.toLocaleString() }, `${ago(Math.max(0, now - each.time))} ago`), dot(kinds[each.event] || ""), h("span", {}, each.text[0].toUpperCase() + each.text.slice(1), about ? h("span", { class: "about" }, about) : null));
  });
  at("events-list").replaceChildren(...(items.length ? items : [h("li", {}, h("span"), h("span"), h("span", { class: "soft" }, "Nothing has happened yet."))]));
}

// --- colours, token, begin ---------------------------------------------------------------------

const themes = ["auto", "light", "dark"], themeKey = "raftx-theme";
let theme = "auto";
try { theme = themes.includes(localStorage.getItem(themeKey)) ? localStorage.getItem(themeKey) : "auto"; } catch { /* not kept */ }
function paint() {
  if (theme === "auto") document.documentElement.removeAttribute("data-theme"); else document.documentElement.setAttribute("data-theme", theme);
  at("theme").textContent = theme[0].toUpperCase() + theme.slice(1);
  at("theme").setAttribute("aria-label", `Colours: ${{ auto: "as the system has them", light: "light", dark: "dark" }[theme]}`);
}
at("theme").addEventListener("click", () => {
  theme = themes[(themes.indexOf(theme) + 1) % 3];
  try { localStorage.setItem(themeKey, theme); } catch { /* not kept */ }
  paint();
});
at("ask").addEventListener("submit", event => {
  event.preventDefault();
  stored.set("raftx-token", at("token").value);
  at("token").value = "";
  at("ask").hidden = true;
});
paint();
look();
setInterval(tellSeen, 1000);
