// A plug-in in C#: see wasp.toml. `vespiary check --csharp` prints the interface it uses.

using System.Linq;
using Vespiary;

/// <summary>Greets everyone by name, and tells all others: a message is a name.</summary>
public class Greeter : Plugin
{
    private string greeting;
    private long greetedMax;
    private long count;

    public override void OnStart(Config config)
    {
        greeting = config.Get<string>("greeting");
        greetedMax = config.Get("greeted_max", 1000000L);
    }

    public override void OnMessage(Connection connection, Message message)
    {
        if (++count > greetedMax)
        {
            connection.Send("nobody else is greeted");
            connection.Close();
            return;
        }
        connection.UserData = message.Text;
        connection.Send(greeting + ", " + message.Text + ": you are number " + count);
        var others = Connections.Where(one => one != connection && one.UserData != null);
        Broadcast(message.Text + " is here", others);
    }

    public override void OnClose(Connection connection, CloseReason reason)
    {
        Log.Debug(connection.UserData + " has left: " + reason);
    }
}
